"""Integer programs: what a quantized model means on hardware that has integers alone."""

from onnxq.integer.execute import execute, run
from onnxq.integer.inputs import decode, encode
from onnxq.integer.lower import lower
from onnxq.integer.program import Program, Step, Value

__all__ = ["Program", "Step", "Value", "decode", "encode", "execute", "lower", "run"]
