"""Samples run side by side: threads that each run whole samples.

A small network keeps several cores busy far better with a sample a core than with a few rows of
one operator a core. Each sample is computed by one thread alone, so its values do not depend on
how many cores there are.
"""

from __future__ import annotations

from collections.abc import Sequence

from onnxq.runtime.providers import CPU, Provider
from onnxq.threads import cores

#: Most samples under way at once: their intermediate tensors are in memory together.
MOST = 4


def shares(providers: Sequence[Provider | str] = ()) -> tuple[int, int | None]:
    """How many samples run at once, and the threads of each; None leaves those to ONNX Runtime.

    As many as there are cores, at most 4; one at a time where more than the CPU computes.
    """
    if any((p if isinstance(p, str) else p[0]) != CPU[0] for p in providers):
        return 1, None
    side = min(MOST, cores())
    return side, cores() // side
