"""The calibration cache of TensorRT: a line for each tensor, its scale as the bits of a float32.

Source: NVIDIA TensorRT developer guide, "Post-Training Quantization Using Calibration": codes are
symmetric int8. The first line names TensorRT's version and the calibrator; TensorRT ignores a cache
of another version.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np

from onnxq.quant.encodings.encoding import Encoding

HEADER = "TRT-8601-EntropyCalibration2"
_HEADER, _LINE = re.compile(r"TRT-\d+-\w+"), re.compile(r"(.+): ([0-9a-fA-F]{8})")


def write(encodings: Iterable[Encoding]) -> str:
    """Activations among *encodings* as a cache."""
    lines = [
        f"{e.name}: {int(e.scale.astype(np.float32).view(np.uint32)[0]):08x}"
        for e in encodings
        if not e.weight
    ]
    return "\n".join([HEADER, *lines]) + "\n"


def is_cache(text: str) -> bool:
    """Whether *text* is a calibration cache."""
    return bool(_HEADER.match(text))


def read(text: str) -> list[Encoding]:
    """The encodings of a cache.

    Raises:
        ValueError: a line is no name and scale.
    """
    made = []
    for line in text.splitlines()[1:]:
        if not line.strip():
            continue
        found = _LINE.fullmatch(line.strip())
        if found is None:
            raise ValueError(f"{line[:60]!r} is no 'tensor: scale'")
        scale = np.array([int(found[2], 16)], np.uint32).view(np.float32)
        made.append(Encoding(found[1], scale, np.array([-128]), 8, True, False))
    return made
