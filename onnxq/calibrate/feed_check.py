"""Each sample against the model's inputs: name, type, rank, dimensions, layout, finite values."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxq.errors import DataError
from onnxq.runtime.session import InputInfo

Feed = dict[str, NDArray[Any]]

#: Permutations by which image data is usually off, with the name of what was given.
_LAYOUTS = {(0, 3, 1, 2): "channels last (NHWC)", (0, 2, 3, 1): "channels first (NCHW)"}


class FeedCheck:
    """Checks samples; what it lets pass with a conversion is noted in ``warnings``."""

    def __init__(self, inputs: Sequence[InputInfo]) -> None:
        self.inputs = list(inputs)
        self.warnings: list[str] = []

    def __call__(self, sample: Any, index: int) -> Feed:
        """*sample* (a mapping, or an array for a single input) as a feed for ONNX Runtime.

        Raises:
            DataError: it does not fit; names the sample and the input, what was expected, what
                was given, and the likely fix.
        """
        named = self._named(sample, index)
        self._check_names(named, index)
        return {i.name: self._checked(np.asarray(named[i.name]), i, index) for i in self.inputs}

    def _named(self, sample: Any, index: int) -> Mapping[str, Any]:
        if isinstance(sample, Mapping):
            return sample
        if hasattr(sample, "__array__") and len(self.inputs) == 1:
            return {self.inputs[0].name: sample}
        names = ", ".join(f"'{i.name}': array" for i in self.inputs)
        raise DataError(
            f"sample {index} is a {type(sample).__name__}, expected a dict {{{names}}}",
            hint="yield dicts of arrays, without labels",
        )

    def _check_names(self, named: Mapping[str, Any], index: int) -> None:
        expected = [i.name for i in self.inputs]
        missing = [n for n in expected if n not in named]
        extra = [str(n) for n in named if n not in expected]
        if not (missing or extra):
            return
        hint = f"leave out {', '.join(repr(n) for n in extra)}"
        if missing and extra:
            guess = difflib.get_close_matches(extra[0], missing, 1, 0.0) or missing
            hint = f"rename '{extra[0]}' to '{guess[0]}'"
        elif missing:
            hint = f"add {', '.join(repr(n) for n in missing)}"
        given, wanted = (", ".join(map(repr, n)) for n in (list(named), expected))
        raise DataError(
            f"sample {index} has the inputs {given}; the model's are {wanted}", hint=hint
        )

    def _checked(self, x: NDArray[Any], info: InputInfo, index: int) -> NDArray[Any]:
        where = f"sample {index}, input '{info.name}'"
        x = self._typed(x, info, where)
        if info.shape is not None:
            _check_shape(x.shape, info.shape, where)
        if x.dtype.kind == "f" and not np.isfinite(x).all():
            bad = int((~np.isfinite(x) & ~(info.mask & (x == -np.inf))).sum())
            if bad:
                raise DataError(
                    f"{where}: {bad} of {x.size} values are NaN or Inf",
                    hint="repair or leave out the sample",
                )
        return x

    def _typed(self, x: NDArray[Any], info: InputInfo, where: str) -> NDArray[Any]:
        wanted = info.dtype
        if not x.dtype.isnative:
            x = x.astype(x.dtype.newbyteorder("="))
        if wanted is None or x.dtype == wanted or (wanted.kind == "O" and x.dtype.kind in "OU"):
            return x
        floats = (np.float16, np.float32, np.float64)
        if x.dtype in floats and (wanted in floats or wanted.name == "bfloat16"):
            self._warn(f"input '{info.name}': {x.dtype} values converted to {wanted}")
            with np.errstate(over="ignore"):
                return x.astype(wanted)
        hint = f"array.astype(np.{wanted})"
        if x.dtype == np.uint8 and wanted in floats:
            hint += ", scaled as in training (such as / 255)"
        raise DataError(f"{where}: {x.dtype} given, {wanted} expected", hint=hint)

    def _warn(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)


def _check_shape(
    given: tuple[int, ...], expected: tuple[int | str | None, ...], where: str
) -> None:
    """Raise DataError unless *given* has the rank and the fixed dimensions *expected*."""
    if fits(given, expected):
        return
    hint = ""
    if len(given) == len(expected) == 4:
        for order, layout in _LAYOUTS.items():
            if fits(tuple(given[i] for i in order), expected):
                hint = f"array.transpose{order}: the data seems to be {layout}"
    elif len(given) == len(expected) - 1 and fits((1, *given), expected):
        hint = "array[None]: the batch dimension is missing"
    elif len(given) == len(expected) + 1 and fits(given[1:], expected):
        hint = "give one sample at a time: array[i]"
    if not hint and given[1:] == expected[1:] and given[:1] == (1,):
        hint = f"the model has a fixed batch of {expected[0]}: give arrays of one rank more"
    shape = ", ".join("?" if d is None else str(d) for d in expected)
    raise DataError(f"{where}: shape {list(given)} given, [{shape}] expected", hint=hint)


def fits(given: tuple[int, ...], expected: tuple[int | str | None, ...]) -> bool:
    """Whether *given* has the rank and the fixed dimensions of *expected*."""
    return len(given) == len(expected) and all(
        not isinstance(e, int) or e == g for g, e in zip(given, expected, strict=True)
    )
