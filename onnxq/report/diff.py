"""Two reports of one network held against each other: what got better or worse, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from onnxq.report.ranking import ranking_key

Report = Mapping[str, Any]

SAME_DB = 0.5
"""A change of SQNR by less is not listed: it is what another rounding of the same data makes."""


@dataclass(frozen=True)
class Change:
    """A figure in both reports.

    Attributes:
        name: the output or layer.
        before, after: SQNR in dB; None where it was not measured.
        kernel_before, kernel_after: of a layer, what it runs as; None is float.
    """

    name: str
    before: float | None
    after: float | None
    kernel_before: str | None = None
    kernel_after: str | None = None

    @property
    def gain(self) -> float | None:
        """By how many dB it is better now; None where one side was not measured."""
        if self.before is None or self.after is None:
            return None
        return self.after - self.before


@dataclass(frozen=True)
class Difference:
    """What differs between report A (before) and report B (after).

    Attributes:
        measure: what layers are compared by, ``isolated_sqnr_db`` or ``cumulative_sqnr_db``.
        outputs: all outputs of both.
        worse, better: layers that changed by at least ``SAME_DB``, the largest change first.
        same: how many layers changed by less.
        kernels: layers that run as something else now.
        only_before, only_after: layers that one report alone has: kept in float in the other, or
            not there.
        summary: by key of the summary, the numbers of both.
        notes: why the comparison may not be fair.
    """

    measure: str
    outputs: list[Change]
    worse: list[Change]
    better: list[Change]
    same: int
    kernels: list[Change]
    only_before: list[str]
    only_after: list[str]
    summary: dict[str, tuple[float | None, float | None]]
    notes: list[str]

    def to_json(self) -> dict[str, Any]:
        """The same as a dictionary for JSON."""
        found = asdict(self)
        for key in ("outputs", "worse", "better", "kernels"):
            changes: list[Change] = getattr(self, key)
            found[key] = [asdict(c) | {"gain_db": c.gain} for c in changes]
        return {"schema": "onnxq-diff/1"} | found


def diff(before: Report, after: Report) -> Difference:
    """Report *after* against report *before*; layers are matched by name."""
    layers = [{str(e["node"]): e for e in r.get("layers") or []} for r in (before, after)]
    keys = [ranking_key(list(found.values())) for found in layers]
    measure = keys[0] if keys[0] == keys[1] else "cumulative_sqnr_db"
    common = [name for name in layers[0] if name in layers[1]]
    changes = [
        Change(
            name, *(found[name].get(measure) for found in layers),
            *(found[name].get("kernel") for found in layers),
        )
        for name in common
    ]  # fmt: skip
    listed = [(c.gain, c) for c in changes if c.gain is not None and abs(c.gain) >= SAME_DB]
    return Difference(
        measure=measure,
        outputs=_outputs(before, after),
        worse=[c for g, c in sorted(listed, key=lambda item: item[0]) if g < 0],
        better=[c for g, c in sorted(listed, key=lambda item: -item[0]) if g > 0],
        same=len(changes) - len(listed),
        kernels=[c for c in changes if c.kernel_before != c.kernel_after],
        only_before=[name for name in layers[0] if name not in layers[1]],
        only_after=[name for name in layers[1] if name not in layers[0]],
        summary=_summary(before, after),
        notes=_notes(before, after),
    )


def _outputs(before: Report, after: Report) -> list[Change]:
    found = [
        {o["name"]: o.get("sqnr_db") for o in (r.get("summary") or {}).get("outputs") or []}
        for r in (before, after)
    ]
    names = dict.fromkeys([*found[0], *found[1]])
    return [Change(name, found[0].get(name), found[1].get(name)) for name in names]


def _summary(before: Report, after: Report) -> dict[str, tuple[float | None, float | None]]:
    keys = ("bytes_quantized", "integer_macs_percent", "integer_nodes_percent")
    parts = [r.get("summary") or {} for r in (before, after)]
    return {key: (parts[0].get(key), parts[1].get(key)) for key in keys}


def _notes(before: Report, after: Report) -> list[str]:
    notes = []
    for key, what in (("model", "models"), ("target", "targets"), ("recipe", "recipes")):
        one, two = before.get(key), after.get(key)
        if one != two:
            notes.append(f"other {what}: '{one}' and '{two}'")
    data = [r.get("data") or {} for r in (before, after)]
    for key, what in (("digest", "data"), ("report_samples", "numbers of samples")):
        if data[0].get(key) != data[1].get(key):
            notes.append(f"errors were measured on other {what}")
    return notes
