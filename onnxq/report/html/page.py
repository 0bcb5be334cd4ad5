"""A report of the schema ``onnxq-report/1`` as a page: template, styles and scripts in one text."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Mapping
from importlib import resources
from typing import Any

from jinja2 import Environment, StrictUndefined

from onnxq.report import headline, units
from onnxq.report.ranking import ranked, ranking_key, reasons, shares
from onnxq.report.tune.svg import RULES, to_svg

SCRIPTS = ("uplot.min.js", "base.js", "charts.js", "table.js", "detail.js", "depth.js")
STYLES = ("uplot.min.css", "page.css")
DIGITS = 6
"""Significant digits of numbers in the page; the JSON report has all."""


def to_html(report: Mapping[str, Any]) -> str:
    """The page that shows *report*; keys that it lacks are not shown.

    Scripts and styles are in the page, allowed by their digests and nothing else is: a name of
    a node can neither run as a script nor load anything.
    """
    script = "\n".join(map(_file, SCRIPTS))
    style = "\n".join(map(_file, STYLES))
    if report.get("tune"):
        style += RULES.rstrip()
    env = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters.update(
        db=units.db_text, percent=units.percent, count=units.count_text, bytes=units.bytes_text,
        tone=units.tone, bar=_bar,
    )  # fmt: skip
    return env.from_string(_file("page.html.jinja")).render(
        **_facts(report),
        script=script,
        style=style,
        policy=f"default-src 'none'; script-src {_digest(script)}; style-src {_digest(style)}; "
        "img-src data:; base-uri 'none'; form-action 'none'",
        data=_embedded(_plain(report)),
    )


def _facts(report: Mapping[str, Any]) -> dict[str, Any]:
    """What the template shows."""
    layers = list(report.get("layers") or [])
    key = ranking_key(layers)
    first = ranked(layers, key)
    chosen = {id(layer) for layer in first}
    order = first + [layer for layer in layers if id(layer) not in chosen]
    place = {id(layer): i for i, layer in enumerate(layers)}
    summary = report.get("summary") or {}
    before, after = summary.get("bytes_float"), summary.get("bytes_quantized")
    data = report.get("data") or {}
    return {
        "model": str(report.get("model") or "model"),
        "target": report.get("target"),
        "recipe": report.get("recipe"),
        "passes": [p for p in _split(str(report.get("passes") or "")) if p],
        "versions": report.get("versions") or {},
        "arithmetic": report.get("arithmetic"),
        "facts": data,
        "samples": headline.samples_text(report),
        "outputs": [
            {**output, "agreement": headline.agreement_text(output)}
            for output in summary.get("outputs") or []
        ],
        "sizes": None if not before or after is None else (before, after, 100 * after / before),
        "speedup": summary.get("speedup"),
        "macs_percent": summary.get("integer_macs_percent"),
        "nodes_percent": summary.get("integer_nodes_percent"),
        "first_step": headline.first_step(report),
        "rows": [_row(layer, place[id(layer)]) for layer in order],
        "operators": sorted({str(x.get("op_type") or "") for x in layers} - {""}),
        "kernels": sorted({str(x.get("kernel") or "float") for x in layers}),
        "has": {name: any(x.get(name) is not None for x in layers) for name in _COLUMNS},
        "sort": key,
        "kept": reasons(report.get("kept_float") or []),
        "kept_count": len(report.get("kept_float") or []),
        "declines": list(report.get("declines") or []),
        "notes": [str(n) for n in report.get("notes") or []],
        "warnings": [str(w) for w in report.get("warnings") or []],
        "recommendation": list(report.get("recommendation") or []),
        "sentence": headline.recommended_text,
        "applied_by": headline.applied_by(report, "REPORT.json"),
        "tune": report.get("tune"),
        "front": to_svg(report["tune"], alone=False) if report.get("tune") else "",
    }


_COLUMNS = ("isolated_sqnr_db", "cumulative_sqnr_db", "macs", "depth", "clipped")


def _row(layer: Mapping[str, Any], place: int) -> dict[str, Any]:
    """A row of the table; *place*: where the layer is in the report."""
    node = str(layer.get("node"))
    clipped = layer.get("clipped")
    lost = (
        sum(float(v) for v in clipped.values() if v is not None)
        if isinstance(clipped, Mapping)
        else None
    )
    kernel = layer.get("kernel")
    return {
        "place": place,
        "node": node,
        "short": units.short_name(node, 38),
        "op": str(layer.get("op_type") or ""),
        "kernel": str(kernel) if kernel else "float",
        "precision": str(layer.get("precision") or ""),
        "alone": layer.get("isolated_sqnr_db"),
        "total": layer.get("cumulative_sqnr_db"),
        "macs": layer.get("macs"),
        "depth": layer.get("depth"),
        "clipped": lost,
        "blame": max(shares(layer).items(), key=lambda kv: kv[1], default=None),
    }


def _bar(value: float | None) -> str:
    """Width in percent of the bar of an SQNR; never empty, never beyond."""
    if value is None:
        return "0"
    return f"{100 * min(max(value / units.FULL_DB, 0.01), 1):.1f}"


def _split(passes: str) -> list[str]:
    """Passes of a recipe written out: at its commas, but not at those within braces."""
    parts, depth = [""], 0
    for c in passes:
        depth += (c in "{(") - (c in "})")
        if c == "," and not depth:
            parts.append("")
        else:
            parts[-1] += c
    return parts


def _plain(value: Any) -> Any:
    """*value* for a browser: shorter numbers; NaN and infinities, which JSON lacks, are null."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    return value


def _embedded(value: Any) -> str:
    """*value* as JSON that cannot end the script element that holds it."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _digest(text: str) -> str:
    """What a content security policy calls *text*."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _file(name: str) -> str:
    return resources.files("onnxq.report.html").joinpath(name).read_text("utf-8").strip()
