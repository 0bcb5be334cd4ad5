"""Models with states: how far the quantized one drifts when it lives on its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import tee
from typing import Any

from onnxq.calibrate.sources import Feed
from onnxq.calibrate.states import States, closed_loop
from onnxq.graph import Model
from onnxq.quant.measures import ErrorSums
from onnxq.report.entries import finite
from onnxq.runtime.providers import Provider
from onnxq.runtime.session import Session


def add_states(
    report: dict[str, Any],
    original: Model,
    work: Model,
    feeds: Iterable[Feed],
    states: States,
    providers: Sequence[Provider],
) -> None:
    """Run *original* and *work* along *feeds*, each on its own states: "states" of *report*.

    The other figures are of single steps, whose states are those of the float model. Here errors
    of a step are carried into the steps after it.
    """
    sums: dict[str, ErrorSums] = {}
    steps = 0
    real, other = tee(feeds)
    runs = [
        closed_loop(Session(model, providers), own, states)
        for model, own in ((original, real), (work, other))
    ]
    for expected, found in zip(*runs, strict=True):
        steps += 1
        for name, y in expected.items():
            if y.dtype.kind == "f":
                sums.setdefault(name, ErrorSums()).add(y, found[name])
    outputs = [{"name": name, "sqnr_db": finite(own.sqnr_db)} for name, own in sums.items()]
    report["states"] = {"fed_back": dict(states), "steps": steps, "outputs": outputs}
    listed = ", ".join(
        f"'{name}' {'exact' if own.noise == 0 else f'{own.sqnr_db:.1f} dB'}"
        for name, own in sums.items()
    )
    report["notes"].append(f"on its own states, after {steps} steps: {listed}")
