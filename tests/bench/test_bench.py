"""The benchmark's own parts; the benchmark itself is run by hand."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest

HERE = Path(__file__).resolve().parent
MODELS = HERE.parents[1] / "models"


def program(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"bench_{name}", HERE / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def beside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs import each other as they do when they are run."""
    monkeypatch.syspath_prepend(HERE)


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((HERE / "results.json").read_text(encoding="utf-8"))
    return found


def test_readme_shows_the_measured_results(results: dict[str, Any]) -> None:
    table = program("table")
    assert table.SECTION.shown() == table.render(results)


def test_readme_shows_the_measured_runtimes() -> None:
    table = program("runtimes_table")
    found = json.loads(table.RESULTS.read_text(encoding="utf-8"))
    assert table.SECTION.shown() == table.table(found)
    for network in found["networks"].values():
        assert all("error" in row or "sqnr_db" in row
                   for file in network["files"].values() for row in file.values())  # fmt: skip


def test_readme_shows_the_peers() -> None:
    table = program("peers_table")
    found = json.loads(table.RESULTS.read_text(encoding="utf-8"))
    assert table.SECTION.shown() == table.tables(found)


def test_peers_that_are_not_installed_are_named() -> None:
    versions, absent = program("peers").absences(sys.executable)
    assert versions.keys() | absent.keys() == {"NNCF", "onnxsim", "Quark"}
    assert set(absent.values()) <= {"not installed"}


def test_runtimes_answer_through_a_pipe(tmp_path: Path) -> None:
    code = f"""if True:
        import sys; sys.path.insert(0, {str(HERE)!r})
        from pathlib import Path
        import numpy as np
        from runtimes import Worker, environments
        model = Path({str(MODELS / "lenet_mnist.onnx")!r})
        feed = {{"input": np.zeros((1, 1, 28, 28), np.float32)}}
        for runtime, (python, version) in environments([]).items():
            with Worker(python, runtime, model) as worker:
                outputs, seconds = worker.run(feed)
                assert outputs["logits"].shape == (1, 10) and seconds > 0 and version
                print(runtime)
        with Worker(sys.executable, "onnxruntime", Path("none.onnx")) as worker:
            print(worker.error)
    """
    done = program("process").run([sys.executable, "-c", code])
    assert done.code == 0, done.errors
    lines = done.output.splitlines()
    assert {"onnxruntime", "onnx reference"} <= set(lines) and "none.onnx" in lines[-1]


def test_every_row_has_its_figures_or_an_error(results: dict[str, Any]) -> None:
    assert results["schema"] == "onnxq-bench/1"
    for network in results["networks"].values():
        for row in network["rows"]:
            assert "error" in row or {
                "metric",
                "sqnr_db",
                "size",
                "seconds",
                "cpu_seconds",
                "peak_mb",
            } <= set(row)


def test_goals_tell_reached_from_missed() -> None:
    goals = program("goals")
    row = {"sqnr_db": 6.0, "metric": 52.5}
    networks = {"yolox_nano": {"float": 53.1, "rows": [row | {"setting": "balanced"}]}}
    memory = [
        {"recipe": "fast", "samples": 32, "peak_mb": 100},
        {"recipe": "fast", "samples": 1024, "peak_mb": 111},
    ]
    found = {goal.what: goal.reached for goal in goals.goals(networks, memory)}
    assert found == {
        "yolox_nano: SQNR dB": True,
        "yolox_nano: AP50": True,
        "fast: memory at 1024 samples": False,
    }
    networks["yolox_nano"]["rows"] = [row | {"setting": "balanced", "metric": 52.0}]
    assert not all(goal.reached for goal in goals.goals(networks, []))


def test_memory_and_time_are_the_childs() -> None:
    run = program("process").run
    large = np.ones(300_000_000, np.uint8)  # in this process, which must not count
    code = "import time; b = bytearray(b'1') * {}; time.sleep(0.2); print(len(b))"
    # through a small process, since a child starts with the peak of its parent
    caller = (
        f"import sys; sys.path.insert(0, {str(HERE)!r}); from process import run;"
        "r = run([sys.executable, '-c', sys.argv[1]]); print(r.code, r.peak_mb, r.seconds)"
    )
    for size, least, most in ((200_000_000, 200, 260), (1, 0, 60)):
        done = run([sys.executable, "-c", caller, code.format(size)])
        status, peak, seconds = done.output.split()
        assert status == "0"
        assert least <= float(peak) < most
        assert float(seconds) >= 0.2
    assert large[0] == 1


def test_a_failure_says_why() -> None:
    done = program("process").run([sys.executable, "-c", "import sys; sys.exit('no such thing')"])
    assert (done.code, done.reason) == (1, "no such thing")
    framed = program("process").Finished(
        2, 0.1, 0.1, 1, "", "╭─ Error ─╮\n│ no data   │\n╰─────────╯"
    )
    assert framed.reason == "Error no data"


def test_peer_writes_a_quantized_model(tmp_path: Path) -> None:
    out = tmp_path / "out.onnx"
    done = program("process").run([
        sys.executable, HERE / "peer.py", MODELS / "lenet_mnist.onnx",
        MODELS / "mnist_calibration.npz", out, "u8s8",
    ])  # fmt: skip
    assert done.code == 0, done.errors
    ops = {node.op_type for node in onnx.load(out).graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= ops


def test_speed_counts_kernels() -> None:
    model = MODELS / "lenet_mnist.onnx"
    done = program("process").run(
        [sys.executable, HERE / "speed.py", MODELS / "mnist_calibration.npz", model, model]
    )
    assert done.code == 0, done.errors
    (found,) = json.loads(done.output).values()
    assert found["integer"] == 0
    assert found["float"] == 4
    assert found["ms"] > 0


def test_stretch_makes_different_samples(tmp_path: Path) -> None:
    small, large = tmp_path / "small.npz", tmp_path / "large.npz"
    np.savez(small, a=np.ones((3, 2), np.float32), b=np.arange(3))
    program("stretch").main(str(small), str(large), 10)
    with np.load(large) as found:
        assert found["a"].shape == (10, 2)
        assert len(np.unique(found["a"][:, 0])) == 10
        assert found["b"].tolist() == [0, 1, 2, 0, 1, 2, 0, 1, 2, 0]


def test_readme_shows_the_methods_for_few_bits() -> None:
    few = program("few_bits")
    found = json.loads(few.RESULTS.read_text(encoding="utf-8"))
    assert few.SECTION.shown() == few.short(found)
    assert set(found["networks"]) == set(few.NETWORKS)


def test_readme_shows_accuracy_in_integers_alone() -> None:
    integers = program("integer")
    found = json.loads((HERE / "integer.json").read_text(encoding="utf-8"))
    assert integers.SECTION.shown() == integers.table(found)


def test_readme_shows_what_passes_add() -> None:
    ablation = program("ablation")
    found = json.loads(ablation.OUT.read_text(encoding="utf-8"))
    assert ablation.SECTION.shown() == ablation.table(found)
    assert set(found) == set(ablation.NETWORKS)
