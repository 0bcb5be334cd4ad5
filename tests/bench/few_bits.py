"""Language models with weights of few bits: every method, size of blocks and form, in perplexity.

::

    python tests/bench/few_bits.py                     # all of them; writes few_bits.json
    python tests/bench/few_bits.py names_transformer
    python tests/bench/few_bits.py --speed             # forms of one large product, timed in turn
    python tests/bench/few_bits.py --table             # prints what few_bits.json has
    python tests/bench/few_bits.py --readme            # puts 4 bits in blocks of 32 into the README

Perplexity is the zoo's, on its own test text, the calibration data another part of it. Size is the
file's, relative to float. Nothing is tuned to a network. Methods gptq and awq read the samples.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from compare import entries, machine, required, zoo_program
from onnx import TensorProto, helper, numpy_helper
from process import run
from readme import Section

import onnxq

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "few_bits.json"
SECTION = Section("few bits", "few_bits.py")
NETWORKS = ("villes_transformer_d64h8", "names_transformer", "shakespeare_rnn")
METHODS = ("rtn", "mse", "hqq", "awq", "gptq", "awq+gptq")
FORMS: dict[str, dict[str, Any]] = {
    "4 bits, standard operators": {"weights": "int4", "block": 32},
    "4 bits, MatMulNBits": {"weights": "int4", "block": 32, "domains": "microsoft"},
    "4 bits, MatMulNBits, floats": {
        "weights": "int4", "block": 32, "domains": "microsoft", "recipe": "plan-weights,"
        "round-weights,store-weights{accuracy_level=0}",
    },
    "8 bits, standard operators": {"weights": "int8", "block": 32},
    "8 bits, MatMulNBits": {"weights": "int8", "block": 32, "domains": "microsoft"},
    "2 bits, MatMulNBits": {"weights": "int2", "block": 32, "domains": "microsoft"},
}  # fmt: skip


def settings() -> Iterator[dict[str, Any]]:
    """What is measured: options of ``onnxq.quantize``."""
    for weights in ("int4", "int2"):
        for method in METHODS:
            for block in (32, 64, 128):
                yield {"weights": weights, "block": block, "weight_method": method}
            yield {"weights": weights, "block": 32, "weight_method": method, "asymmetric": True}
    for method in ("mse", "gptq"):
        base = {"weights": "int4", "block": 32, "weight_method": method}
        yield base | {"double_scales": True}
        yield base | {"mix_bits": 10}
        yield base | {"mix_bits": 25}
        yield base | {"tables": "int4"}
    yield {"weights": "float8e4m3fn", "weight_method": "mse"}
    yield {"weights": "float8e5m2", "weight_method": "mse"}
    yield {"weights": "int8", "weight_method": "mse"}


def measured(name: str) -> dict[str, Any]:
    """All settings on the network *name*."""
    sys.path.insert(0, str(zoo_program().parent))
    import zoo

    model = zoo_program().parent / entries()[name]["model"]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        data, out = Path(folder) / "data.npz", Path(folder) / "q.onnx"
        required(run([sys.executable, zoo_program(), "calib", name, data]))
        for options in settings():
            start = time.perf_counter()
            result = onnxq.quantize(
                model, data=data, mode="weights", recipe="balanced", report_detail="basic",
                **options,
            )  # fmt: skip
            seconds = time.perf_counter() - start
            result.save(out)
            found = zoo.evaluate(name, out)
            rows.append(options | {
                "perplexity": round(math.exp(found["metric"]), 4),
                "sqnr_db": round(found["sqnr_db"], 2),
                "size": round(out.stat().st_size / model.stat().st_size, 4),
                "seconds": round(seconds, 1),
            })  # fmt: skip
            print(label(options), rows[-1]["perplexity"], flush=True)
    return {"perplexity": round(math.exp(entries()[name]["fp32_metric"]), 4), "rows": rows}


def speed(width: int = 2048) -> list[dict[str, Any]]:
    """Least milliseconds of a product of *width* by *width*, one thread, forms taking turns."""
    weight = np.random.default_rng(0).normal(size=(width, width)).astype(np.float32)
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", width]) for n in "xy"]
    node = helper.make_node("MatMul", ["x", "w"], ["y"], name="mm")
    graph = helper.make_graph(
        [node], "product", ends[:1], ends[1:], [numpy_helper.from_array(weight, "w")]
    )
    opset = [helper.make_opsetid("", 21)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=10)
    made: dict[str, onnx.ModelProto] = {"float": model}
    for title, options in FORMS.items():
        made[title] = onnxq.quantize(model, mode="weights", **options).model.to_proto()
    own = ort.SessionOptions()
    own.intra_op_num_threads = 1
    sessions = {
        title: ort.InferenceSession(p.SerializeToString(), own, providers=["CPUExecutionProvider"])
        for title, p in made.items()
    }
    times: dict[tuple[str, int], list[float]] = {}
    for rows in (1, 16, 128):
        x = np.random.default_rng(1).normal(size=(rows, width)).astype(np.float32)
        for _ in range(15):
            for title, session in sessions.items():
                start = time.perf_counter()
                session.run(None, {"x": x})
                times.setdefault((title, rows), []).append(time.perf_counter() - start)
    return [
        {"form": title} | {
            f"ms_{rows}": round(1e3 * min(times[title, rows]), 2)
            for rows in (1, 16, 128)
        }
        for title in sessions
    ]  # fmt: skip


def label(options: dict[str, Any]) -> str:
    """*options* in words."""
    words = [options["weights"], f"block {options['block']}" if "block" in options else "rows"]
    words += ["zero points"] if options.get("asymmetric") else []
    words += ["double scales"] if options.get("double_scales") else []
    words += [f"{options['mix_bits']} % in 8 bits"] if "mix_bits" in options else []
    words += ["tables too"] if "tables" in options else []
    return ", ".join(words)


def table(found: dict[str, Any]) -> str:
    """*found* as Markdown: perplexity above float in percent, one column for each method."""
    lines = []
    for name, network in found["networks"].items():
        lines += [
            "", f"**{name}**, float {network['perplexity']:.4f}; perplexity in percent above it "
            "(SQNR dB)", "", "| weights | size | " + " | ".join(METHODS) + " |",
            "| --- | --: |" + " --: |" * len(METHODS),
        ]  # fmt: skip
        groups: dict[str, dict[str, Any]] = {}
        for row in network["rows"]:
            groups.setdefault(label(row), {})[row["weight_method"]] = row
        for text, by_method in groups.items():
            size = min(row["size"] for row in by_method.values())
            cells = []
            for method in METHODS:
                row = by_method.get(method)
                above = 0.0 if row is None else row["perplexity"] / network["perplexity"] - 1
                cells.append("" if row is None else f"{100 * above:+.2f} ({row['sqnr_db']:.1f})")
            lines.append(f"| {text} | {size:.3f} | " + " | ".join(cells) + " |")
    if found.get("speed"):
        lines += ["", "| one product, ms at | 1 row | 16 | 128 |", "| --- | --: | --: | --: |"]
        lines += [
            f"| {r['form']} | {r['ms_1']:.2f} | {r['ms_16']:.2f} | {r['ms_128']:.2f} |"
            for r in found["speed"]
        ]
    return "\n".join(lines)


def short(found: dict[str, Any]) -> str:
    """The README's table: 4 bits in blocks of 32, perplexity above float in percent."""
    wanted = {
        "": {}, ", zero points": {"asymmetric": True}, ", 25 % in 8 bits": {"mix_bits": 25},
    }  # fmt: skip
    lines = ["| network | " + " | ".join(METHODS) + " |", "| --- |" + " --: |" * len(METHODS)]
    for name, network in found["networks"].items():
        for text, options in wanted.items():
            cells = []
            for method in METHODS:
                own = {"weights": "int4", "block": 32, "weight_method": method, **options}
                mine = (r for r in network["rows"] if r.items() - own.items() <= _values(r))
                row = next((r for r in mine if own.items() <= r.items()), None)
                ratio = 1.0 if row is None else row["perplexity"] / network["perplexity"]
                cells.append("" if row is None else f"{100 * (ratio - 1):+.2f}")
            lines.append(f"| {name}{text} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _values(row: dict[str, Any]) -> set[tuple[str, Any]]:
    """What was measured in *row*, beside its options."""
    return {(k, row[k]) for k in ("perplexity", "sqnr_db", "size", "seconds")}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("networks", nargs="*", default=NETWORKS, metavar="NETWORK")
    parser.add_argument("--table", action="store_true", help="print what there is")
    parser.add_argument("--speed", action="store_true", help="time one product instead")
    parser.add_argument("--readme", action="store_true", help="write it into the README")
    given = parser.parse_args()
    kept: dict[str, Any] = {"networks": {}}
    if RESULTS.is_file():
        kept = json.loads(RESULTS.read_text(encoding="utf-8"))
    if given.speed:
        kept["speed"] = speed()
    shown = given.table or given.readme
    for name in () if shown or given.speed else given.networks:
        kept["networks"][name] = measured(name)
        kept["networks"] = {n: kept["networks"][n] for n in NETWORKS if n in kept["networks"]}
    if given.readme:
        SECTION.write(short(kept))
    if not shown:
        kept["machine"] = machine()
        RESULTS.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    print(table(kept))


if __name__ == "__main__":
    main()
