"""A report of the schema ``onnxq-report/1`` as Markdown, short enough for a pull request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from onnxq.report.headline import first_step, integer_text, recommended_text, samples_text, share
from onnxq.report.ranking import blame, ranked, ranking_key, reasons
from onnxq.report.units import bytes_text, db_text, percent

Report = Mapping[str, Any]

#: Layers that are listed.
MOST = 12


def to_markdown(report: Report, *, limit: int = MOST) -> str:
    """*report* as Markdown: outputs, what is integer, the worst layers, what to do."""
    parts = [
        f"## {code(report.get('model') or 'model')}: {report.get('target', '')}, "
        f"{code(report.get('recipe') or 'unknown recipe')}",
        _summary(report),
        _outputs((report.get("summary") or {}).get("outputs") or []),
        _layers(report.get("layers") or [], limit),
        _kept(report.get("kept_float") or []),
        _listed("Recommended", [recommended_text(r) for r in report.get("recommendation") or []]),
        _listed("Warnings", [str(w) for w in report.get("warnings") or []]),
        _origin(report),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def code(text: object) -> str:
    """*text* as inline code that cannot end early, nor break out of a table."""
    plain = " ".join(str(text).split()).replace("|", "\\|")
    fence = "`" * (1 + max((len(run) for run in _runs(plain)), default=0))
    space = " " if plain.startswith("`") or plain.endswith("`") else ""
    return f"{fence}{space}{plain}{space}{fence}"


def escaped(text: str) -> str:
    """*text* as plain words: nothing of it is markup."""
    return "".join(f"\\{c}" if c in "\\`*_{}[]<>()#+!|~" else c for c in " ".join(text.split()))


def table(head: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """A table; columns after the first *left* are aligned right."""
    rule = ["---" if i < left else "--:" for i in range(len(head))]
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, rule, *rows))


def _summary(report: Report) -> str:
    parts = report.get("summary") or {}
    lines = []
    if integer_text(report):
        lines.append(f"- integer: {integer_text(report)}")
    before, after = parts.get("bytes_float"), parts.get("bytes_quantized")
    if before and after is not None:
        size = f"{bytes_text(before)} → {bytes_text(after)}"
        lines.append(f"- size: {size} ({percent(100 * after / before)} of float)")
    if ratio := parts.get("speedup"):
        spread = f"95 % from {ratio['low']:.2f} to {ratio['high']:.2f}"
        lines.append(f"- speed: {ratio['median']:.2f} × float ({spread})")
    lines.append(f"- first thing to do: {escaped(first_step(report))}")
    return "\n".join(lines)


def _outputs(outputs: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        [
            code(o.get("name")), db_text(o.get("sqnr_db")), _number(o.get("cosine"), 5),
            "–" if o.get("top1_agreement") is None else percent(100 * share(o["top1_agreement"])),
        ]
        for o in outputs
    ]  # fmt: skip
    return table(["output", "SQNR dB", "cosine", "same top-1"], rows) if rows else ""


def _layers(layers: Sequence[Mapping[str, Any]], limit: int) -> str:
    key = ranking_key(layers)
    order = ranked(layers, key)
    if not order:
        return ""
    rows = []
    for layer in order[:limit]:
        cause = blame(layer)
        rows.append([
            code(layer.get("node")), str(layer.get("op_type") or ""),
            str(layer.get("kernel") or "float"),
            db_text(layer.get("isolated_sqnr_db")), db_text(layer.get("cumulative_sqnr_db")),
            f"{cause[0]} {percent(100 * cause[1])}" if cause else "–",
        ])  # fmt: skip
    head = ["layer", "operator", "runs as", "alone dB", "up to there dB", "mostly from"]
    more = len(order) - len(rows)
    note = f"\n\n… and {more} better ones" if more else ""
    return "### Layers that lose most\n\n" + table(head, rows, 3) + note


def _kept(kept: Sequence[Mapping[str, Any]]) -> str:
    lines = []
    for reason, nodes in reasons(kept):
        few = ", ".join(code(n.get("node")) for n in nodes[:3])
        lines.append(f"{len(nodes)} × {escaped(reason)}: {few}{' …' if len(nodes) > 3 else ''}")
    return _listed("Kept in float", lines, plain=False)


def _listed(title: str, lines: Sequence[str], *, plain: bool = True) -> str:
    if not lines:
        return ""
    return f"### {title}\n\n" + "\n".join(f"- {escaped(x) if plain else x}" for x in lines)


def _origin(report: Report) -> str:
    versions = ", ".join(f"{k} {v}" for k, v in (report.get("versions") or {}).items())
    digest = str((report.get("data") or {}).get("digest") or "")[:12]
    facts = [samples_text(report), f"data {digest}" if digest else "", versions]
    text = "; ".join(fact for fact in facts if fact)
    return f"<sub>{escaped(text)}</sub>" if text else ""


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _runs(text: str) -> list[str]:
    """Runs of backticks in *text*."""
    return [run for run in "".join(c if c == "`" else " " for c in text).split() if run]
