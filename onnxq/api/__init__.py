"""The Python API: one call from a float model and data to integers and a report."""

from onnxq.api.quantize import quantize
from onnxq.api.result import Result

__all__ = ["Result", "quantize"]
