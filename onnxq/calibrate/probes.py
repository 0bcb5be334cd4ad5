"""The runs behind the driver: which session shows what of a sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from onnxq.errors import DataError
from onnxq.graph import Model
from onnxq.runtime.providers import Provider
from onnxq.runtime.session import Session
from onnxq.runtime.taps import (
    EXTREMES,
    check_taps,
    drop_outputs,
    tap_arrays,
    tap_reduced,
)

Arrays = dict[str, NDArray[Any]]
Extents = dict[str, tuple[float, float]]


class Probes:
    """Sessions that show some tensors of a model whole and others reduced to their extremes.

    Args:
        model: the model, or a message; it is not changed.
        whole: tensors to be shown as arrays.
        reduced: tensors of which minimum and maximum are enough.
        providers, threads: as for ``Session``.
    """

    def __init__(
        self,
        model: Model | ModelProto,
        whole: Sequence[str],
        reduced: Sequence[str],
        providers: Sequence[Provider | str] = (),
        threads: int | None = None,
    ) -> None:
        # a message is made for a few runs, often of many copies of one layer
        self._model, brief = model, not isinstance(model, Model)
        self._session = partial(Session, providers=tuple(providers), threads=threads, brief=brief)
        self._whole, self._reduced = list(whole), list(reduced)
        proto = self._message()
        check_taps(proto, [*whole, *reduced])
        self._inputs = {i.name for i in proto.graph.input}
        self._names = [t for t in whole if t not in self._inputs]
        tap_arrays(proto, self._names)
        if reduced:
            tap_reduced(proto, reduced)
            self._names.append(EXTREMES)
        drop_outputs(proto, self._names)
        self._main = self._session(proto) if self._names else None

    def _message(self) -> ModelProto:
        """The model as a message of its own."""
        if isinstance(self._model, Model):
            return self._model.to_proto()
        copy = ModelProto()
        copy.CopyFrom(self._model)
        return copy

    @cached_property
    def _arrays(self) -> Session:
        """Shows every wanted tensor as an array; for the samples that defy reduction."""
        names = [t for t in (*self._whole, *self._reduced) if t not in self._inputs]
        proto = self._message()
        return self._session(drop_outputs(tap_arrays(proto, names), names))

    def run(self, feed: Mapping[str, NDArray[Any]]) -> tuple[Arrays, Extents]:
        """Arrays of one sample, and the extremes of tensors that are finite and not empty.

        A reduced tensor that holds NaN, Inf or nothing is among the arrays.
        """
        try:
            found = {} if self._main is None else self._main.run(feed, self._names)
        except DataError:
            # some versions cannot reduce an empty tensor; if that was not it, this raises too
            return self._fetch(feed, [*self._whole, *self._reduced]), {}
        arrays = {t: found[t] if t in found else np.asarray(feed[t]) for t in self._whole}
        extents: Extents = {}
        again = []
        if self._reduced:
            rows = found[EXTREMES].reshape(len(self._reduced), -1)
            finite = np.isfinite(rows).all(axis=1).tolist()
            for tensor, (low, high, _), usable in zip(
                self._reduced, rows.tolist(), finite, strict=True
            ):
                if usable:
                    extents[tensor] = (low, high)
                else:
                    again.append(tensor)
        return arrays | self._fetch(feed, again), extents

    def _fetch(self, feed: Mapping[str, NDArray[Any]], names: Sequence[str]) -> Arrays:
        inner = [n for n in names if n not in self._inputs]
        found = self._arrays.run(feed, inner) if inner else {}
        return {n: found[n] if n in found else np.asarray(feed[n]) for n in names}
