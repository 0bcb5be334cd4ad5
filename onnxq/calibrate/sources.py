"""Where samples come from: files, folders, functions, iterables, arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxq.calibrate.digest import FeedDigest
from onnxq.calibrate.feed_check import FeedCheck
from onnxq.calibrate.folders import folder_samples
from onnxq.calibrate.functions import load_function
from onnxq.calibrate.spool import Spool
from onnxq.calibrate.stacks import cut, file_stacks, memory_stack, samples
from onnxq.errors import DataError, OnnxqError, OptionError
from onnxq.runtime.session import InputInfo

Feed = dict[str, NDArray[Any]]


class DataSource:
    """Checked samples of a model, as often as needed.

    Args:
        origin: what to call the source in messages.
        inputs: the model's inputs.
        begin: starts a pass over raw samples, at the sample of the given index.
        length: number of samples, None where only a pass can tell.
        repeatable: whether *begin* may be called again and gives the same samples cheaply; other
            sources are stored in a temporary file during their first pass.

    Attributes:
        length: number of samples; known after the first whole pass at the latest.

    Raises:
        DataError: there is no first sample, or it does not fit the model.
    """

    def __init__(
        self,
        origin: str,
        inputs: Sequence[InputInfo],
        begin: Callable[[int], Iterator[Any]],
        length: int | None = None,
        repeatable: bool = True,
    ) -> None:
        self.origin, self.length = origin, length
        self._check = FeedCheck(inputs)
        self._begin = begin
        self._spool = None if repeatable else Spool(self._checked(0))
        self._digest, self._digested = FeedDigest(), 0
        self._first = next(iter(self), None)
        if self._first is None:
            raise DataError(f"{origin} holds no samples")

    @property
    def warnings(self) -> list[str]:
        """Conversions that were made."""
        return self._check.warnings

    def first(self) -> Feed:
        """The first sample."""
        assert self._first is not None
        return self._first

    def __iter__(self) -> Iterator[Feed]:
        """Samples {input name: array}, each checked before it is handed out.

        Raises:
            DataError: a sample does not fit, or the source fails; names the sample.
        """
        return self.start(0)

    def start(self, first: int) -> Iterator[Feed]:
        """The samples from the one of index *first* on."""
        index = first
        spool = self._spool
        feeds = self._checked(first) if spool is None else islice(iter(spool), first, None)
        for feed in feeds:
            if index == self._digested:  # each sample once, in order, whichever pass comes to it
                self._digest.update(feed)
                self._digested += 1
            index += 1
            yield feed
        self.length = index

    def digest(self) -> str:
        """SHA-256 over all samples; reads those that no pass has come to yet."""
        if self._digested != self.length:
            for _ in self.start(self._digested):
                pass
        return self._digest.hexdigest()

    def count(self) -> int:
        """Number of samples; reads them where it is not known yet."""
        if self.length is None:
            self.digest()
        assert self.length is not None
        return self.length

    def _checked(self, first: int) -> Iterator[Feed]:
        index = first
        try:
            for sample in self._begin(first):
                yield self._check(sample, index)
                index += 1
        except (OnnxqError, GeneratorExit):
            raise
        except Exception as error:
            raise DataError(
                f"{self.origin} failed at sample {index}", why=f"{type(error).__name__}: {error}"
            ) from error


def open_data(
    data: Any, inputs: Sequence[InputInfo], preprocess: str | None = None, seed: int = 0
) -> DataSource:
    """Open *data* for a model with *inputs*; the first sample is checked at once.

    Args:
        data: a path (``.npz``, ``.npy``, a folder of these or of images), ``"module:function"``,
            a mapping of stacked arrays, an array (one input), an iterable or a function that
            returns one. Iterables give mappings, or arrays for a model of one input. One-shot
            iterators are welcome.
        inputs: the model's inputs, as ``Session.inputs``.
        preprocess: how images become inputs; a string of ``onnxq.calibrate.preprocess``.
        seed: seeds ``random`` and ``numpy.random`` before a function is called.

    Raises:
        DataError: the data cannot be read or does not fit the model.
        OptionError: *preprocess* is given for data that are no images.
    """
    path = _path(data)
    if path is not None and path.is_dir():
        origin = f"folder {path}"
        begin, length, repeatable = folder_samples(path, inputs, preprocess)
        return DataSource(origin, inputs, begin, length, repeatable)
    if preprocess is not None:
        raise OptionError(
            "preprocess steps are for folders of images", hint="leave --preprocess out"
        )
    if isinstance(data, DataSource):
        return data
    if path is not None:
        if path.suffix not in (".npz", ".npy"):
            raise DataError(
                f"{path}: unknown kind of data",
                hint=".npz, .npy, a folder, or package.module:function",
            )
        stacks = file_stacks(path, inputs)
    elif isinstance(data, np.ndarray):
        stacks = {_single(inputs): memory_stack(data)}
    elif isinstance(data, Mapping):
        stacks = {str(n): memory_stack(np.asarray(a)) for n, a in data.items()}
    else:
        return _from_iterable(data, inputs, seed)
    origin = "the array" if path is None else str(path)
    length = cut(stacks, inputs, origin)
    return DataSource(origin, inputs, lambda first: samples(stacks, inputs, first), length)


def _path(data: Any) -> Path | None:
    """*data* as an existing path; None for what is no path.

    Raises:
        DataError: it can only be a path, and there is nothing.
    """
    if not isinstance(data, (str, PathLike)):
        return None
    path = Path(data)
    if path.exists():
        return path
    if isinstance(data, str) and ":" in data and "/" not in data:
        return None
    raise DataError(f"no such data: {path}", hint=".npz, .npy, a folder, or module:function")


def _single(inputs: Sequence[InputInfo]) -> str:
    if len(inputs) == 1:
        return inputs[0].name
    names = ", ".join(f"'{i.name}'" for i in inputs)
    raise DataError(
        f"one array was given, but the model has {len(inputs)} inputs: {names}",
        hint="a mapping {input name: array}",
    )


def _from_iterable(data: Any, inputs: Sequence[InputInfo], seed: int) -> DataSource:
    if isinstance(data, str):
        function = load_function(data, "data")
        return DataSource(data, inputs, lambda _: _call(function, data, seed), None, False)
    if not isinstance(data, Iterable):
        if callable(data):
            name = getattr(data, "__name__", "the data function")
            return DataSource(name, inputs, lambda _: _call(data, name, seed), None, False)
        raise DataError(
            f"data of type {type(data).__name__} cannot be read",
            hint="a path, an array, or an iterable of {input name: array}",
        )
    length = len(data) if isinstance(data, (list, tuple)) else None
    one_shot = iter(data) is data
    return DataSource(
        "the data", inputs, lambda first: islice(data, first, None), length, not one_shot
    )


def _call(function: Callable[[], Any], name: str, seed: int) -> Iterator[Any]:
    import random

    random.seed(seed)
    np.random.seed(seed)
    found = function()
    if not isinstance(found, Iterable):
        raise DataError(f"{name} returned a {type(found).__name__}, expected an iterable of dicts")
    return iter(found)
