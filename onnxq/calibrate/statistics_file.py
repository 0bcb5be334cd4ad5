"""Statistics on disk: one ``.npz`` without pickles, keyed by the digests of model and data.

The array ``index`` holds JSON: format version, digests, number of samples, left-out values, and for
each measurement its tensor, observer and fields; arrays of measurement *i* are ``i/name``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import tempfile
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxq.calibrate.channel_extremes import ChannelExtremes
from onnxq.calibrate.channel_means import ChannelMeans
from onnxq.calibrate.extremes import Extremes
from onnxq.calibrate.histogram import Histogram
from onnxq.calibrate.observer import AnyObserver
from onnxq.calibrate.parted_extremes import PartedExtremes
from onnxq.calibrate.stacks import UNREADABLE
from onnxq.calibrate.statistics import Statistics
from onnxq.errors import DataError, OutputError

FORMAT = "onnxq-statistics/1"
#: Observers that a file may name; their fields are stored with them.
KINDS: Mapping[str, type[Any]] = {
    "extremes": Extremes,
    "histogram": Histogram,
    "channel-extremes": ChannelExtremes,
    "parted-extremes": PartedExtremes,
    "channel-means": ChannelMeans,
}


def save_statistics(
    statistics: Statistics, path: str | PathLike[str], model_digest: str, data_digest: str
) -> None:
    """Write *statistics* to *path*, whole or not at all.

    Raises:
        OutputError: the file cannot be written.
    """
    arrays: dict[str, NDArray[Any]] = {}
    measured: list[tuple[str, str, dict[str, Any]]] = []
    for tensor, states in statistics.states.items():
        for observer, state in states.items():
            number = len(measured)
            measured.append((tensor, _kind(observer), _fields(observer)))
            for name, array in observer.to_arrays(state).items():
                arrays[f"{number}/{name}"] = array
    index = {
        "format": FORMAT, "model": model_digest, "data": data_digest, "measured": measured,
        "samples": statistics.samples, "nonfinite": dict(statistics.nonfinite),
    }  # fmt: skip
    arrays["index"] = np.frombuffer(json.dumps(index).encode(), np.uint8)
    path = Path(path)
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                np.savez(file, **arrays)  # type: ignore[arg-type]
            Path(name).replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(name).unlink()
            raise
    except OSError as error:
        raise OutputError(f"statistics cannot be written to {path}", why=str(error)) from error


def load_statistics(
    path: str | PathLike[str],
    model_digest: str,
    data_digest: str,
    kinds: Mapping[str, type[Any]] = KINDS,
) -> Statistics:
    """Read what ``save_statistics`` wrote.

    Args:
        path: the file.
        model_digest: the model that they must belong to; an empty one is not compared.
        data_digest: the data, likewise.
        kinds: observer classes by name, where a file holds others than onnxq's own.

    Raises:
        DataError: no such file, not a statistics file, or of another model or other data.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        index = json.loads(arrays.pop("index").tobytes())
        known = index["format"] == FORMAT
    except (*UNREADABLE, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is no statistics file", why=str(error)) from error
    if not known:
        raise DataError(f"{path} has the format {index['format']}, not {FORMAT}")
    for what, expected in (("model", model_digest), ("data", data_digest)):
        if expected and index[what] != expected:
            raise DataError(
                f"the statistics in {path} were measured with another {what}",
                why=f"{what} digest {index[what][:12]}… in the file, {expected[:12]}… expected",
                hint="remove the file, or name another one, to measure anew",
            )
    states: dict[str, dict[AnyObserver, Any]] = {}
    for number, (tensor, kind, fields) in enumerate(index["measured"]):
        if kind not in kinds:
            raise DataError(f"{path} holds '{kind}' of '{tensor}', which no observer reads")
        observer: AnyObserver = kinds[kind](**fields)
        prefix = f"{number}/"
        own = {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
        states.setdefault(tensor, {})[observer] = observer.from_arrays(own)
    return Statistics(states, int(index["samples"]), index["nonfinite"])


def _kind(observer: AnyObserver) -> str:
    return observer.key.partition("{")[0]


def _fields(observer: AnyObserver) -> dict[str, Any]:
    return dataclasses.asdict(observer) if dataclasses.is_dataclass(observer) else {}
