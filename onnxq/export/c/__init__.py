"""Export to C99."""

from onnxq.export.c.compiler import compile_c, compiler
from onnxq.export.c.golden import Golden, golden
from onnxq.export.c.write import Source, write_c

__all__ = ["Golden", "Source", "compile_c", "compiler", "golden", "write_c"]
