"""Random samples, for when there is no data. Ranges found with them mean nothing for real input."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxq.calibrate.sources import DataSource, Feed
from onnxq.errors import DataError
from onnxq.runtime.session import InputInfo

#: Sizes for free dimensions: of images (rank 4), and otherwise; the first one is the batch.
_IMAGE, _OTHER = 224, 16


#: By name of an input, smallest and largest value.
Ranges = Mapping[str, tuple[float, float]]


def random_data(
    inputs: Sequence[InputInfo], samples: int = 16, seed: int = 0, ranges: Ranges | None = None
) -> DataSource:
    """*samples* random feeds for *inputs*: normal floats (mean 0, deviation 1), integers 0 and 1.

    Floats of an input with a range in *ranges* have their mean in its middle, a quarter of it as
    deviation, and never leave it.

    Free dimensions are 1 for the batch, 224 for height and width, 16 for others, and equal where
    they have one name: the smallest of these. A dimension that is stated as 0 is 0.

    Raises:
        DataError: an input of unknown rank, or of strings.
    """
    named = _named(inputs)

    def begin(first: int) -> Iterator[Feed]:
        rng = np.random.default_rng(seed)
        for index in range(samples):
            feed: Feed = {
                i.name: _values(i, named, rng, (ranges or {}).get(i.name)) for i in inputs
            }
            if index >= first:
                yield feed

    return DataSource("random data", inputs, begin, samples)


def _named(inputs: Sequence[InputInfo]) -> dict[str, int]:
    """Sizes of the free dimensions that have a name."""
    found: dict[str, int] = {}
    for info in inputs:
        for axis, dimension in enumerate(info.shape or ()):
            if isinstance(dimension, str):
                size = _free(info, axis)
                found[dimension] = min(found.get(dimension, size), size)
    return found


def _free(info: InputInfo, axis: int) -> int:
    return 1 if axis == 0 else _IMAGE if len(info.shape or ()) == 4 else _OTHER


def _values(
    info: InputInfo,
    named: Mapping[str, int],
    rng: np.random.Generator,
    ends: tuple[float, float] | None,
) -> NDArray[Any]:
    if info.shape is None or info.dtype is None or info.dtype.kind == "O":
        raise DataError(f"no random data for input '{info.name}'", hint="give real data")
    shape = [
        d if isinstance(d, int) and d >= 0 else named.get(str(d), _free(info, axis))
        for axis, d in enumerate(info.shape)
    ]
    if info.dtype.kind in "iub":
        return rng.integers(0, 2, shape).astype(info.dtype)
    values = rng.standard_normal(shape, np.float32)
    return (values if ends is None else within(values, *ends)).astype(info.dtype)


def within(normal: NDArray[Any], low: float, high: float) -> NDArray[Any]:
    """Standard normal values spread over a range: four deviations, the rest cut off."""
    return np.clip((low + high) / 2 + (high - low) / 4 * normal, low, high)
