"""Accuracy in integers alone: ``python integer.py [NETWORK…] [-r RECIPE…] [-t TARGET…] [-o FILE]``.

For each network, recipe, target and way to round (``-w``, those with zero points among them): the
metric of the float model, of the QDQ model in ONNX Runtime (which rounds ties to even), and of the
integers, which the simulation model computes. On the first frames each of its values is compared
with the integer reference. *most_samples* is the ``--limit`` of evaluation samples, null for all of
them. Results are written to ``integer.json`` beside this file one by one; others in it are kept.
``--readme`` measures nothing and puts what it holds into the README.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from itertools import product
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
from readme import Section

import onnxq
from onnxq.graph import Model
from onnxq.integer import lower
from onnxq.integer.simulation import simulate
from onnxq.report.verify import verify
from onnxq.runtime.session import Session
from tests.zoo import ZOO, zoo

MODELS = Path(__file__).resolve().parents[2] / "models"
LENET = "lenet_mnist"
NETWORKS = (LENET, "cifar_resnet20", "squeezenet1.1", "mobilenetv2")
RECIPES = ("fast", "balanced")
TARGETS = ("fpga-pow2",)
WAYS: dict[str, dict[str, Any]] = {
    "half-up": {"rounding": "half-up"},
    "floor": {"rounding": "floor"},
    "half-up, zero points": {"rounding": "half-up", "asymmetric": True},
}
SECTION = Section("integers", "integer.py")
OUT = Path(__file__).with_name("integer.json")
#: Frames on which every value is compared with the reference.
FRAMES = 2


def calibration(network: str) -> tuple[Path, list[dict[str, Any]]]:
    """The float model, and its calibration samples."""
    if network == LENET:
        images = np.load(MODELS / "mnist_calibration.npz")["input"]
        return MODELS / "lenet_mnist.onnx", [{"input": i[None]} for i in images]
    return zoo().entry(network).model, list(zoo().calibration(network))


def score(network: str, model: Path, limit: int | None) -> tuple[float, float, float]:
    """Metrics of *model* and of float, in percent, and how many decisions are the same."""
    if network != LENET:
        found = zoo().evaluate(network, model, limit=limit)
        return found["metric"], found["fp32_metric"], found["agree"]
    _, _, images, labels = zoo().mnist()
    images, labels = images[:limit, None].astype(np.float32), labels[:limit]
    chosen = []
    for path in (model, MODELS / "lenet_mnist.onnx"):
        session = Session(path)
        parts = [session.run({"input": images[i : i + 500]})["logits"]
                 for i in range(0, len(images), 500)]  # fmt: skip
        chosen.append(np.concatenate(parts).argmax(1))
    right = [100 * float(np.mean(c == labels)) for c in chosen]
    return right[0], right[1], 100 * float(np.mean(chosen[0] == chosen[1]))


def measure(network: str, options: dict[str, Any], limit: int | None) -> dict[str, Any]:
    """Metrics of one variant."""
    source, feeds = calibration(network)
    made = onnxq.quantize(source, data=feeds, report_detail="basic", **options)
    model = Model.load(made.model.to_proto())
    checked = verify(model, feeds[:FRAMES], c=False)
    assert checked["holds"]["simulation"], f"{network} {options}: the simulation is not exact"
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder) / "qdq.onnx", Path(folder) / "simulation.onnx"
        model.save(files[0])
        Model.load(simulate(lower(model), model).model).save(files[1])
        runtime, integers = (score(network, file, limit) for file in files)
    return {
        **options,
        "most_samples": limit,
        "float": runtime[1],
        "runtime": runtime[0],
        "runtime_agree": runtime[2],
        "integers": integers[0],
        "integers_agree": integers[2],
        "values_compared": checked["values"],
    }


def table(results: dict[str, list[dict[str, Any]]]) -> str:
    """Top-1 in integers alone, that of ONNX Runtime on the same file in brackets; Markdown."""
    recipes = (*RECIPES, "best")
    lines = [
        f"| top-1 in % | rounding | float | {' | '.join(recipes)} |",
        "| --- | --- " + "| --: " * (1 + len(recipes)) + "|",
    ]
    for network, rows in results.items():
        for name, way in WAYS.items():
            found = {r["recipe"]: r for r in rows if _way(r) == way}
            if not found:
                continue
            cells = [f"{r['integers']:.2f} ({r['runtime']:.2f})" if r else ""
                     for r in map(found.get, recipes)]  # fmt: skip
            real = next(iter(found.values()))["float"]
            lines.append(f"| {network} | {name} | {real:.2f} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _way(row: dict[str, Any]) -> dict[str, Any]:
    return {key: row[key] for key in ("rounding", "asymmetric") if key in row}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="*", default=NETWORKS)
    parser.add_argument("-r", "--recipe", nargs="*", default=RECIPES)
    parser.add_argument("-t", "--target", nargs="*", default=TARGETS)
    parser.add_argument("-w", "--way", nargs="*", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("-n", "--limit", type=int, help="fewer evaluation samples")
    parser.add_argument("-o", "--output", type=Path, default=OUT)
    parser.add_argument("--readme", action="store_true", help="write the README, measure nothing")
    given = parser.parse_args()
    if given.readme:
        SECTION.write(table(json.loads(given.output.read_text("utf-8"))))
        return
    assert ZOO is not None, "the zoo is neither at $ONNXQ_ZOO nor at ../shared/zoo"
    results = json.loads(given.output.read_text("utf-8")) if given.output.exists() else {}
    for network in given.networks:
        for recipe, target, way in product(given.recipe, given.target, given.way):
            options = {"target": target, "recipe": recipe, **WAYS[way]}
            found = measure(network, options, given.limit)
            others = [
                r for r in results.get(network, [])
                if (r["target"], r["recipe"], _way(r)) != (target, recipe, WAYS[way])
            ]  # fmt: skip
            results[network] = [*others, found]
            shown = "  ".join(f"{k} {found[k]:.2f}" for k in ("float", "runtime", "integers"))
            print(f"{network:16} {recipe:9} {target:10} {way:20} {shown}", flush=True)
            text = json.dumps(results, indent=1, sort_keys=True) + "\n"
            given.output.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
