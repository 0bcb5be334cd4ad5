"""Which CPU a hardware profile stands for, as ONNX Runtime's fusion sees it."""

from __future__ import annotations

from onnxq.errors import OptionError
from onnxq.targets import Target


def is_cpu(target: Target) -> bool:
    """Whether *target* is a CPU that ONNX Runtime runs on."""
    return target.name == "arm" or target.name.startswith("x86")


def kernels_for_int8(target: Target) -> bool:
    """Whether ONNX Runtime's CPU of *target* has kernels for int8 activations (Arm), or not (x86).

    Raises:
        OptionError: *target* is no CPU of ONNX Runtime.
    """
    if is_cpu(target):
        return target.name == "arm"
    raise OptionError(
        f"'{target.name}' does not run in ONNX Runtime's CPU provider",
        hint="--target auto, x86, x86-avx2, x86-vnni or arm",
    )
