"""override-tensors: the user's own format, granularity, symmetry or range for single tensors."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from onnxq.errors import OptionError, UnknownNameError
from onnxq.graph import Model
from onnxq.pipeline import Context, Pass, Stage
from onnxq.quant import DType, Fixed, PerAxis, PerTensor, QuantSpec, number_format
from onnxq.quant.choose import qparams_from_range
from onnxq.quant.encodings import Encoding, read_encodings

_KEYS = ("dtype", "symmetric", "narrow_range", "granularity", "axis", "range")


@dataclass(frozen=True, kw_only=True)
class OverrideTensors(Pass):
    """Replace parts of the plan of single tensors by what the user says.

    What it does
        Takes scales from another tool: encodings of AIMET or QNN (JSON), JSON of PPQ, a
        calibration cache of TensorRT. Or reads a TOML file with one table a tensor (a name or a
        glob; where several match, each adds to those before it); the keys ``dtype``, ``symmetric``,
        ``narrow_range``, ``granularity`` ("tensor", "channel" with ``axis``) and
        ``range`` ([low, high], instead of a calibrated one) replace what was planned.

    Why
        What is known of a tensor beforehand (a probability, a sensor's range) beats any sample.

    Example
        A file with ``["conv1.out"]``, ``range = [0.0, 6.0]`` and
        ``override-tensors{file="ranges.toml"}``

    When it declines
        Never: an unknown key or a tensor that is not quantized is an error; a tensor that is not
        quantized because nodes were excluded is a warning. Of scales from another tool, tensors
        that the model does not have, or that are not rounded here, are warnings.

    Numerics
        Ranges are widened to include zero.

    Source
        The idea follows ONNX Runtime's TensorQuantOverrides.

    Attributes:
        file: path of the file; its content says which kind it is.
    """

    name: ClassVar[str] = "override-tensors"
    stage: ClassVar[Stage] = Stage.PLAN
    preserves: ClassVar[float | None] = 0.0

    file: str = ""

    def run(self, model: Model, ctx: Context) -> None:
        specs = {n: s for n, s in ctx.plan.tensors.items() if isinstance(s, QuantSpec)}
        given = given_encodings(self.file)
        if given is not None:
            _take(given, specs, model, ctx, self.file)
            return
        ranges: dict[str, tuple[float, float]] = {}
        for pattern, table in _read(self.file).items():
            where = f"{self.file}: '{pattern}'"
            matches = [n for n in specs if n == pattern or fnmatchcase(n, pattern)]
            if not matches:
                if ctx.plan.excluded and any(fnmatchcase(n, pattern) for n in model.tensors()):
                    ctx.journal.warn(
                        f"{where} has no effect: with the nodes excluded, no tensor of that name "
                        "is quantized"
                    )
                    continue
                raise UnknownNameError("quantized tensor", pattern, specs)
            for name in matches:
                specs[name] = _changed(specs[name], table, where)
                if "range" in table:
                    ranges[name] = _range(table["range"], where)
        ctx.plan.tensors.update(specs)
        for name, (low, high) in ranges.items():
            ctx.plan.tensors[name] = Fixed(qparams_from_range(low, high, specs[name]))


def given_encodings(file: str) -> list[Encoding] | None:
    """The scales of another tool in *file*; None where it is TOML.

    Raises:
        OptionError: it cannot be read, or is neither.
    """
    try:
        return read_encodings(_text(file))
    except ValueError as error:
        raise OptionError(f"overrides '{file}' cannot be understood", why=str(error)) from error


def given_formats(file: str) -> set[DType]:
    """The number formats that *file* asks for.

    Raises:
        OptionError, UnknownNameError: it cannot be read, or names a format that there is not.
    """
    given = given_encodings(file)
    if given is not None:
        return {number_format(f"int{e.bits}") for e in given if e.bits <= 16}
    tables = _read(file).values()
    return {number_format(str(table["dtype"])) for table in tables if "dtype" in table}


def _take(
    given: list[Encoding], specs: Mapping[str, QuantSpec], model: Model, ctx: Context, file: str
) -> None:
    """Fix what of *specs* has an encoding, and warn of the others."""
    tensors = model.tensors()
    taken, idle = 0, []
    for encoding in given:
        name, tensor = encoding.name, tensors.get(encoding.name)
        if tensor is None:
            near = difflib.get_close_matches(name, tensors, n=3)
            hint = f"; near are {', '.join(near)}" if near else ""
            ctx.journal.warn(f"{file}: the model has no tensor '{name}'{hint}")
        elif name not in specs:
            idle += [] if name in ctx.plan.tensors else [name]
        else:
            spec, shape = specs[name], ctx.shape(tensor)
            axis = spec.granularity.axis if isinstance(spec.granularity, PerAxis) else None
            channels = None if axis is None or shape is None else shape[axis % len(shape)]
            ctx.plan.tensors[name] = Fixed(encoding.qparams(spec, channels))
            taken += 1
    if not taken:
        raise OptionError(f"'{file}' has no scale for any tensor that is quantized here",
                          why=f"{len(given)} tensors, such as '{given[0].name}'" if given else "",
                          hint=", ".join([*specs][:8]))  # fmt: skip
    if idle:
        few = ", ".join(idle[:5]) + (" …" if len(idle) > 5 else "")
        ctx.journal.warn(f"{file}: {len(idle)} tensors have no scale of their own here: {few}")


def _text(file: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8")
    except OSError as error:
        raise OptionError(f"overrides '{file}' cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise OptionError(f"overrides '{file}' is not TOML: {error}") from error


def _read(file: str) -> Mapping[str, Mapping[str, Any]]:
    try:
        tables = tomllib.loads(_text(file))
    except tomllib.TOMLDecodeError as error:
        raise OptionError(f"overrides '{file}' is not TOML: {error}") from error
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise OptionError(
                f"{file}: '{name}' is no table", hint=f'["{name}"] on a line, its keys below'
            )
        for key in table:
            if key not in _KEYS:
                raise UnknownNameError(f"key in '{file}', table '{name}',", key, _KEYS)
    return tables


def _changed(spec: QuantSpec, table: Mapping[str, Any], where: str) -> QuantSpec:
    changes: dict[str, Any] = {
        k: bool(table[k]) for k in ("symmetric", "narrow_range") if k in table
    }
    if "dtype" in table:
        changes["dtype"] = kind = number_format(str(table["dtype"]))
        if kind.floating:
            changes |= {"symmetric": True, "narrow_range": False}
    if "granularity" in table:
        kind = table["granularity"]
        if kind not in ("tensor", "channel"):
            raise UnknownNameError(f"granularity at {where}", str(kind), ("tensor", "channel"))
        before = spec.granularity.axis if isinstance(spec.granularity, PerAxis) else 0
        axis = int(table.get("axis", before))
        changes["granularity"] = PerTensor() if kind == "tensor" else PerAxis(axis)
    changed = replace(spec, **changes)
    if changed.pair_sum_limit is not None and not (
        changed.symmetric and changed.dtype == spec.dtype
    ):
        changed = replace(changed, pair_sum_limit=None)  # a promise about the format before
    return changed


def _range(value: object, where: str) -> tuple[float, float]:
    if (
        not isinstance(value, list)
        or len(value) != 2
        or not all(isinstance(v, int | float) and np.isfinite(v) for v in value)
        or value[0] >= value[1]
    ):
        raise OptionError(f"{where}: range is {value!r}", hint="two finite numbers, low then high")
    return float(value[0]), float(value[1])
