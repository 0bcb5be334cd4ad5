"""Conditions that a report has to meet: the check of a deployment pipeline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from onnxq.errors import DataError
from onnxq.report.headline import share

Report = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What is required; None where nothing is.

    Attributes:
        min_sqnr: least SQNR of every output, dB.
        max_metric_drop: most that a metric may fall. Where the report has ``metrics`` (each with
            ``name``, ``float`` and ``quantized``), float − quantized of each; else the share of
            samples, in points of 100, whose top-1 class is another one than the float model's.
        min_coverage: least percentage of multiply-accumulates that run on integers.
        max_size: most percentage of the float model's bytes.
        min_layer_sqnr: least SQNR of every layer alone, dB.
    """

    min_sqnr: float | None = None
    max_metric_drop: float | None = None
    min_coverage: float | None = None
    max_size: float | None = None
    min_layer_sqnr: float | None = None

    @property
    def any(self) -> bool:
        """Whether anything is required."""
        return any(value is not None for value in vars(self).values())


@dataclass(frozen=True)
class Check:
    """A condition and how the report stands to it."""

    what: str
    found: float
    limit: float
    least: bool
    unit: str

    @property
    def passed(self) -> bool:
        """Whether it is met."""
        return self.found >= self.limit if self.least else self.found <= self.limit

    def __str__(self) -> str:
        sign = ("≥" if self.least else "≤") if self.passed else ("<" if self.least else ">")
        return f"{self.what}: {self.found:.4g}{self.unit} {sign} {self.limit:g}{self.unit}"


def gate(report: Report, conditions: Conditions) -> list[Check]:
    """Every condition held against *report*.

    Raises:
        DataError: the report lacks what a condition asks for.
    """
    return [*_checks(report, conditions)]


def _checks(report: Report, wanted: Conditions) -> Iterator[Check]:
    summary = report.get("summary") or {}
    if wanted.min_sqnr is not None:
        outputs = [o for o in summary.get("outputs") or [] if o.get("sqnr_db") is not None]
        _need(outputs, "the SQNR of any output", "--min-sqnr")
        for output in outputs:
            what = f"SQNR of output '{output['name']}'"
            yield Check(what, float(output["sqnr_db"]), wanted.min_sqnr, True, " dB")
    if wanted.max_metric_drop is not None:
        drops = dict(_drops(report))
        _need(drops, "a metric or top-1 agreement", "--max-metric-drop")
        for name, drop in drops.items():
            yield Check(f"drop of {name}", drop, wanted.max_metric_drop, False, "")
    if wanted.min_coverage is not None:
        found = summary.get("integer_macs_percent")
        _need(found is not None, "the share of integer multiply-accumulates", "--min-coverage")
        assert found is not None
        yield Check("integer multiply-accumulates", float(found), wanted.min_coverage, True, " %")
    if wanted.max_size is not None:
        before, after = summary.get("bytes_float"), summary.get("bytes_quantized")
        _need(before and after is not None, "the sizes of both models", "--max-size")
        assert before is not None and after is not None
        yield Check("size of float", 100.0 * after / before, wanted.max_size, False, " %")
    if wanted.min_layer_sqnr is not None:
        layers = [e for e in report.get("layers") or [] if e.get("isolated_sqnr_db") is not None]
        _need(layers, "isolated errors of layers", "--min-layer-sqnr")
        for entry in layers:
            what = f"SQNR of layer '{entry['node']}' alone"
            yield Check(what, entry["isolated_sqnr_db"], wanted.min_layer_sqnr, True, " dB")


def _drops(report: Report) -> Iterator[tuple[str, float]]:
    metrics = report.get("metrics") or []
    if metrics:
        yield from ((m["name"], float(m["float"]) - float(m["quantized"])) for m in metrics)
        return
    for output in (report.get("summary") or {}).get("outputs") or []:
        if output.get("top1_agreement") is not None:
            agreement = share(float(output["top1_agreement"]))
            drop = round(100.0 * (1.0 - agreement), 9)
            yield f"top-1 agreement of '{output['name']}', points", drop


def _need(there: object, what: str, option: str) -> None:
    if not there:
        raise DataError(
            f"the report does not have {what}, which {option} asks for",
            hint="make it with samples: onnxq quantize … --data DATA --report REPORT.json",
        )
