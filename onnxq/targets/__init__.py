"""What each hardware can do, as tables."""

from __future__ import annotations

from onnxq.errors import UnknownNameError
from onnxq.targets.cpu import detect
from onnxq.targets.integer import DPU, ESP32, ESP32_P4, FPGA_POW2, MCU_INT8, NXP
from onnxq.targets.onnxruntime_cpu import ARM, X86, X86_AVX2, X86_VNNI
from onnxq.targets.others import GENERIC, OPENVINO, TENSORRT
from onnxq.targets.target import PRECISIONS, ZERO_POINTS, Arithmetic, OpRule, Role, Target

TARGETS: dict[str, Target] = {
    t.name: t
    for t in (
        X86, X86_AVX2, X86_VNNI, ARM, TENSORRT, OPENVINO, GENERIC,
        FPGA_POW2, NXP, ESP32, ESP32_P4, DPU, MCU_INT8,
    )
}  # fmt: skip


def get_target(name: str | Target) -> Target:
    """The target called *name*; ``"auto"`` is the one that fits this machine.

    Raises:
        UnknownNameError: there is none; the nearest names are listed.
    """
    if isinstance(name, Target):
        return name
    if name == "auto":
        name, _ = detect()
    try:
        return TARGETS[name]
    except KeyError:
        raise UnknownNameError("target", name, ["auto", *TARGETS]) from None


__all__ = [
    "PRECISIONS", "TARGETS", "ZERO_POINTS", "Arithmetic", "OpRule", "Role", "Target", "detect",
    "get_target",
]  # fmt: skip
