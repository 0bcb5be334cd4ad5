"""Numbers as people read them."""

from __future__ import annotations

from math import isnan

GOOD_DB, POOR_DB, FULL_DB = 20.0, 10.0, 50.0
"""SQNR from which a value is shown as good, as poor, and at which its bar is full."""

EXACT_DB = 999.0
"""What stands for an infinite ratio in JSON, which has no infinity."""

_EIGHTHS = " ▏▎▍▌▋▊▉█"


def bytes_text(count: float) -> str:
    """*count* bytes in decimal units: ``13.6 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 1000:
            return f"{count:.0f} B" if unit == "B" else f"{_three(count)} {unit}"
        count /= 1000
    return f"{_three(count)} TB"


def count_text(count: float) -> str:
    """*count* with a decimal prefix: ``314 M``."""
    for unit in ("", " k", " M", " G"):
        if abs(count) < 1000:
            return f"{count:.0f}" if not unit else f"{_three(count)}{unit}"
        count /= 1000
    return f"{_three(count)} T"


def _three(value: float) -> str:
    """*value* below 1000 with three digits."""
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f}"


def percent(value: float) -> str:
    """*value* percent: whole only where it is whole, so that 99.96 is not shown as 100."""
    if value == round(value):
        return f"{value:.0f} %"
    text = f"{value:.1f}"
    return f"{'99.9' if text == '100.0' and value < 100 else text} %"


def db_text(value: float | None) -> str:
    """An SQNR in dB with one decimal; ``exact`` where there is no noise."""
    if value is None or isnan(value):
        return "–"
    if abs(value) >= EXACT_DB:
        return "exact" if value > 0 else "lost"
    return f"{value:.1f}"


def tone(value: float | None) -> str:
    """The colour of an SQNR in dB."""
    if value is None or isnan(value):
        return "yellow"
    return "green" if value >= GOOD_DB else "yellow" if value >= POOR_DB else "red"


def bar(value: float | None, width: int) -> str:
    """A bar of *value* dB in *width* cells, in eighths of a cell; never empty, never beyond."""
    if value is None or isnan(value):
        return ""
    share = min(max(value / FULL_DB, 0.0), 1.0)
    eighths = max(1, round(share * width * 8))
    full, part = divmod(eighths, 8)
    return "█" * full + (_EIGHTHS[part] if part else "")


def short_name(name: str, width: int) -> str:
    """The node name *name* in at most *width* characters.

    Exporters repeat a module's path in each part (``/conv/conv.0/conv.0.1/Conv``): parts that the
    next one repeats go first, each leaving a ``…``; what is still too long is cut in its middle.
    """
    if len(name) <= width:
        return name
    parts = name.split("/")
    kept: list[str] = []
    for part, after in zip(parts, [*parts[1:], ""], strict=True):
        if part and after.startswith(f"{part}."):
            kept.append("…")
        elif kept and kept[-1] == "…":
            kept[-1] += part
        elif part:
            kept.append(part)
    return middle("/".join(kept).replace("……", "…"), width)


def middle(text: str, width: int) -> str:
    """*text* cut in its middle to *width* characters: names differ at their ends."""
    if len(text) <= width:
        return text
    keep = width - 1
    return text[: keep // 3] + "…" + text[-(keep - keep // 3) :]
