"""What each correcting pass adds, in dB and points: ``python ablation.py [NETWORK…] [-o FILE]``.

``python tests/bench/ablation.py --readme`` writes the table of the README from ``ablation.json``.

Every variant is a whole ``onnxq.quantize`` for the target x86, evaluated on the zoo's images in the
integer kernels of this machine. Results are written to ``ablation.json`` beside this file after
each, and those of other networks in it are kept.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
from readme import Section

import onnxq
from onnxq.pipeline import Recipe
from tests.zoo import ZOO, zoo

NETWORKS = ("cifar_resnet20", "squeezenet1.1", "mobilenetv2")
OUT = Path(__file__).with_name("ablation.json")
SECTION = Section("ablation", "ablation.py")
ANALYTIC = {"correct-biases-empirical": "correct-biases"}
NO_SEARCH = {"search-ranges": ""}
SEARCH = {"search-ranges": "search-ranges"}
ROUND = {"round-second-order": "round-second-order"}
LAST, ENTROPY = "equalize-cross-layer", "choose-ranges{method=entropy}"
RECONSTRUCT = {"correct-biases-empirical": "round-by-reconstruction{bits=16},{}"}
NO_EQUALIZATION = {"equalize-cross-layer": "", "equalize-silu": ""}
VARIANTS: dict[str, tuple[str, dict[str, str]]] = {
    "fast": ("fast", {}),
    "balanced": ("balanced", {}),
    "balanced without equalization": ("balanced", NO_EQUALIZATION),
    "balanced + absorb-high-biases": ("balanced", {LAST: "{},absorb-high-biases"}),
    "balanced + split-outlier-channels": ("balanced", {LAST: "{},split-outlier-channels"}),
    "balanced with ranges minmax": ("balanced", {"choose-ranges": "choose-ranges"}),
    "balanced with ranges entropy": ("balanced", {"choose-ranges": ENTROPY}),
    "balanced without search-ranges": ("balanced", NO_SEARCH),
    "balanced with search-ranges of all tensors": ("balanced", SEARCH),
    "balanced with weights minmax": ("balanced", {"quantize-weights": "quantize-weights"}),
    "balanced without bias correction": ("balanced", {"correct-biases-empirical": ""}),
    "balanced with correct-biases": ("balanced", ANALYTIC),
    "balanced + round-second-order": ("balanced", ROUND),
    "best": ("best", {}),
    "balanced + round-by-reconstruction": ("balanced", RECONSTRUCT),
}
"""By name, the recipe, and by pass what takes its place, {} being the pass itself."""
BOUNDS = {"best, weights of 16 bits": "weights", "best, activations of 16 bits": "activations"}
"""What stops `best`: what is left where one side is not rounded (noticeably)."""
POWERS = {f"{base}, powers of two": base for base in ("balanced", "best")}
"""Scales that are powers of two, one for each tensor."""
FEW_BITS = {"mobilenetv2": "int4"}
"""Networks that are measured with weights of few bits too, at balanced and best."""


def recipe(base: str, changes: dict[str, str]) -> str:
    """The text of the recipe *base* with *changes*."""
    found = []
    for one in Recipe.resolve(base).passes:
        text = str(Recipe((one,)))
        found.append(changes.get(one.name, "{}").replace("{}", text))
    return ",".join(step for step in found if step)


def measure(network: str, steps: str, **options: Any) -> dict[str, Any]:
    """Metrics of one variant, with more *options* of ``onnxq.quantize``."""
    module = zoo()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data.npz"
        feeds = list(module.calibration(network))
        np.savez(data, **{k: np.concatenate([f[k] for f in feeds]) for k in feeds[0]})
        start = time.process_time()
        result = onnxq.quantize(
            module.entry(network).model, data=data, target="x86", recipe=steps,
            report_detail="basic", **options,
        )  # fmt: skip
        seconds = time.process_time() - start
        path = Path(folder) / "quantized.onnx"
        result.save(path)
        found = module.evaluate(network, path)
    return {
        "metric": round(float(found["metric"]), 2),
        "float": round(float(found["fp32_metric"]), 2),
        "sqnr_db": round(float(found["sqnr_db"]), 2),
        "cpu_s": round(seconds, 1),
    }


def trials(network: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """What is measured of *network*: name, recipe and options."""
    for name, (base, changes) in VARIANTS.items():
        yield name, recipe(base, changes), {}
    for name, side in BOUNDS.items():
        yield name, recipe("best", {}), {side: "int16", "keep_unfused": True}
    for name, base in POWERS.items():
        yield name, recipe(base, {}), {"scales": "power-of-two", "granularity": "tensor"}
    bits = FEW_BITS.get(network)
    for base in ("balanced", "best") if bits else ():
        yield f"{base}, {bits}", recipe(base, {}), {"weights": bits}


def table(found: dict[str, Any]) -> str:
    """SQNR in dB by variant and network, as Markdown."""
    variants = list(dict.fromkeys(variant for rows in found.values() for variant in rows))
    lines = [f"| SQNR dB | {' | '.join(found)} |", f"| --- |{' --: |' * len(found)}"]
    for variant in variants:
        cells = [rows[variant]["sqnr_db"] if variant in rows else None for rows in found.values()]
        shown = ("" if cell is None else f"{cell:.1f}" for cell in cells)
        lines.append(f"| {variant} | {' | '.join(shown)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure the networks named, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="*", default=NETWORKS)
    parser.add_argument("-o", "--out", type=Path, default=OUT)
    parser.add_argument("--readme", action="store_true", help="only write the README's table")
    given = parser.parse_args()
    if given.readme:
        SECTION.write(table(json.loads(given.out.read_text())))
        return
    if ZOO is None:
        sys.exit("the model zoo is not here: set $ONNXQ_ZOO")
    results = json.loads(given.out.read_text()) if given.out.exists() else {}
    for network in given.networks:
        rows = results[network] = {}
        for name, steps, options in trials(network):
            rows[name] = measure(network, steps, **options)
            print(network, name, rows[name], flush=True)
            given.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
