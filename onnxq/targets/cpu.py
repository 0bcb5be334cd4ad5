"""Which x86 or Arm target fits the processor that this program runs on."""

from __future__ import annotations

import platform
from pathlib import Path

_INFO = Path("/proc/cpuinfo")


def detect() -> tuple[str, str]:
    """Name of the target for this machine, and the reason as a phrase for people.

    Where the processor's features cannot be read, the target that is safe everywhere is chosen.
    """
    machine = platform.machine().lower()
    if machine in {"arm64", "aarch64"}:
        return "arm", f"this processor is {machine}"
    if machine not in {"x86_64", "amd64", "i386", "i686"}:
        return "generic", f"no profile for the processor '{machine}'"
    try:
        text = _INFO.read_text()
    except OSError:
        return "x86", "the processor's features cannot be read here"
    flags = next((line for line in text.splitlines() if line.startswith("flags")), "").split()
    if "avx512_vnni" in flags or "avx_vnni" in flags:
        return "x86-vnni", "this processor has VNNI"
    return "x86-avx2", "this processor has no VNNI"
