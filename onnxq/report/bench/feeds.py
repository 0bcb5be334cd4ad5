"""What models are run on when they are timed: samples put together to batches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxq.errors import DataError, OptionError
from onnxq.runtime.session import InputInfo

Feed = Mapping[str, NDArray[Any]]

#: How many batches models are run on in turn.
BATCHES = 4


def fixed_batch(inputs: Sequence[InputInfo]) -> int | None:
    """The first dimension of the first input with dimensions, where it is fixed."""
    first = next((i.shape[0] for i in inputs if i.shape), None)
    return first if isinstance(first, int) else None


def batches(
    samples: Iterable[Feed], inputs: Sequence[InputInfo], batch: int
) -> list[dict[str, NDArray[Any]]]:
    """Up to ``BATCHES`` batches of *batch* samples; of few samples, some are taken again.

    A sample of several rows counts as one, but where *batch* is the fixed first dimension of the
    inputs: then each is a batch already. Inputs whose first dimension is fixed, and those
    without dimensions, are handed on as they are.

    Raises:
        OptionError: no input has a free first dimension, and *batch* is not 1.
        DataError: there is no sample.
    """
    whole = batch > 1 and fixed_batch(inputs) == batch
    batch = 1 if whole else batch
    found = [dict(f) for f in islice(samples, BATCHES * batch)]
    if not found:
        raise DataError("there is no sample to run the models on")
    free = {i.name for i in inputs if i.shape and not isinstance(i.shape[0], int)}
    if batch > 1 and not free:
        raise OptionError(
            f"--batch {batch}: the first dimension of every input is fixed",
            hint="export the model with a free batch dimension",
        )
    wanted = range(0, max(len(found), batch), batch)
    groups = [[found[(start + k) % len(found)] for k in range(batch)] for start in wanted]
    return [
        {
            name: np.concatenate([f[name] for f in group]) if name in free and batch > 1 else value
            for name, value in group[0].items()
        }
        for group in groups[:BATCHES]
    ]
