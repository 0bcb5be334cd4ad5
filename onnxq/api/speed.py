"""How fast the result is, beside the model that it was made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from onnxq.graph import Model
from onnxq.report.bench.feeds import BATCHES
from onnxq.report.bench.run import Effort, bench
from onnxq.runtime.providers import Provider

#: Seconds for measuring both.
SECONDS = 3.0


def add_speed(
    report: dict[str, Any],
    original: Model,
    work: Model,
    samples: Iterable[Mapping[str, Any]],
    providers: Sequence[Provider],
    threads: int | None,
) -> None:
    """Time *original* and *work* on the first *samples*: "bench" of *report*, and a warning.

    On so many *threads*; None for all cores.

    Raises:
        UnsupportedModelError, DataError: ONNX Runtime cannot load or run one of them.
    """
    models = {"float": original, "quantized": work}
    feeds = list(islice(samples, BATCHES))
    effort = Effort(seconds=SECONDS)
    found = bench(models, feeds, threads=threads, providers=providers, effort=effort)
    report["bench"] = found
    report["warnings"] += found["warnings"]
    report["summary"]["speedup"] = found["models"][1]["speedup"]
