"""What each ONNX Runtime release reads: the highest opset and IR version.

Source: the compatibility table in ONNX Runtime's documentation and each release's bundled onnx.
"""

from __future__ import annotations

import re

from onnxq.errors import OptionError

#: ONNX Runtime (major, minor): (highest opset of the default domain, highest IR version).
READS: dict[tuple[int, int], tuple[int, int]] = {
    (1, 5): (12, 7), (1, 6): (13, 7), (1, 7): (13, 7), (1, 8): (14, 7), (1, 9): (15, 8),
    (1, 10): (15, 8), (1, 11): (16, 8), (1, 12): (17, 8), (1, 13): (17, 8), (1, 14): (18, 8),
    (1, 15): (19, 9), (1, 16): (19, 9), (1, 17): (20, 9), (1, 18): (21, 10), (1, 19): (21, 10),
    (1, 20): (21, 10), (1, 21): (22, 10), (1, 22): (22, 10), (1, 23): (23, 11),
}  # fmt: skip

#: Number formats that the CPU provider has no kernels for: neither DequantizeLinear nor Cast.
CPU_LACKS = frozenset({"float4e2m1"})


def reads(version: str) -> tuple[int, int]:
    """Highest opset and IR version that ONNX Runtime *version* reads.

    A release newer than the table is taken to read what the newest one in it does.

    Raises:
        OptionError: *version* is no version, or older than the table.
    """
    match = re.match(r"(\d+)\.(\d+)", version)
    if match is None:
        raise OptionError(f"'{version}' is no version of ONNX Runtime", hint="such as 1.18")
    key = (int(match[1]), int(match[2]))
    if key < min(READS):
        raise OptionError(f"ONNX Runtime {version} is too old to run quantized models", hint="1.5")
    return READS[max(k for k in READS if k <= key)]
