"""Models really run: what is measured, what is said of slower ones."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest

import onnxq
from onnxq.errors import ConditionError, OptionError
from onnxq.graph import Model
from onnxq.report.bench.run import Effort, bench, demand
from onnxq.report.html import to_html
from onnxq.report.markdown import to_markdown
from onnxq.runtime.profile import profile
from tests.api.support import network, samples

QUICK = Effort(rounds=6, warm_up=2, profile_runs=3)


def heavy() -> onnx.ModelProto:
    """The network with a hundred matrix products behind it: surely slower."""
    proto = network()
    (output,) = proto.graph.output
    for node in proto.graph.node:
        node.output[:] = ["before" if o == output.name else o for o in node.output]
    big = onnx.numpy_helper.from_array(np.eye(400, dtype=np.float32), "big")
    zero = onnx.numpy_helper.from_array(np.zeros((), np.float32), "zero")
    proto.graph.initializer.extend([big, zero])
    last = "big"
    first = onnx.helper.make_node("ReduceMean", ["before"], ["mean"], "mean", keepdims=0)
    proto.graph.node.append(first)
    proto.graph.node.append(onnx.helper.make_node("Add", ["big", "mean"], ["m0"], "start"))
    last = "m0"
    for i in range(1, 30):
        proto.graph.node.append(onnx.helper.make_node("MatMul", [last, "m0"], [f"m{i}"], f"mul{i}"))
        last = f"m{i}"
    proto.graph.node.append(
        onnx.helper.make_node("ReduceMean", [last], ["end"], "end_mean", keepdims=0)
    )
    proto.graph.node.append(onnx.helper.make_node("Mul", ["end", "zero"], ["none"], "none"))
    proto.graph.node.append(onnx.helper.make_node("Add", ["before", "none"], [output.name], "sum"))
    onnx.checker.check_model(proto)
    return proto


def test_what_is_measured() -> None:
    models = {"float": Model.load(network()), "again": Model.load(network())}
    found = bench(models, samples(3), effort=QUICK, threads=1)
    assert json.loads(json.dumps(found)) == found
    assert (found["schema"], found["rounds"], found["threads"]) == ("onnxq-bench/1", 6, 1)
    first, second = found["models"]
    assert 0 < first["p50_ms"] <= first["p95_ms"] <= first["p99_ms"]
    assert "speedup" not in first
    ratio = second["speedup"]
    assert ratio["low"] <= ratio["median"] <= ratio["high"]
    assert "Conv" in {r["operator"] for r in second["operators"]}
    assert all(r["first_nodes"] == r["second_nodes"] for r in second["operators"])


def test_a_slower_model_is_warned_of_with_the_reason() -> None:
    models = {"float": Model.load(network()), "heavy": Model.load(heavy())}
    found = bench(models, samples(3), effort=QUICK, threads=1)
    (warning,) = found["warnings"]
    assert "'heavy' is SLOWER than 'float'" in warning
    assert "more time goes to MatMul" in warning
    assert found["models"][1]["speedup"]["high"] < 0.8
    with pytest.raises(ConditionError, match="below the 1 required") as error:
        demand(found, 1.0)
    assert "MatMul" in error.value.why
    demand(found, found["models"][1]["speedup"]["median"])


def test_models_that_want_codes_get_them() -> None:
    result = onnxq.quantize(network(), data=samples(), io_dtype="uint8", recipe="fast")
    models = {"float": Model.load(network()), "codes": result.model}
    found = bench(models, samples(3), effort=QUICK)
    assert len(found["models"]) == 2


def test_models_of_other_inputs() -> None:
    other = network()
    other.graph.input[0].name = "image"
    other.graph.node[0].input[0] = "image"
    models = {"float": Model.load(network()), "other": Model.load(other)}
    with pytest.raises(OptionError, match="'other': its input 'image' is not among the data"):
        bench(models, samples(1), effort=QUICK)


def test_profiles_name_the_nodes_and_leave_out_the_warm_up() -> None:
    found = profile(network(), samples(2), runs=4, warm_up=2, threads=1)
    assert [n.operator for n in found].count("Conv") == 3
    again = profile(network(), samples(2), runs=8, warm_up=0, threads=1)
    assert {n.node for n in again} == {n.node for n in found}
    assert [n.seconds for n in found] == sorted((n.seconds for n in found), reverse=True)
    assert sum(n.seconds for n in found) < 0.1


def test_quantize_measures_on_demand() -> None:
    given = {"data": samples(), "recipe": "fast", "target": "x86"}
    plain = onnxq.quantize(network(), **given)
    assert "bench" not in plain.report
    result = onnxq.quantize(network(), bench=True, **given)
    found = result.report["bench"]
    assert [m["name"] for m in found["models"]] == ["float", "quantized"]
    assert result.report["summary"]["speedup"] == found["models"][1]["speedup"]
    median = found["models"][1]["speedup"]["median"]
    assert f"speed: {median:.2f} × float" in to_markdown(result.report)
    assert f"{median:.2f}<small> ×" in to_html(result.report)
    assert "× float" not in to_markdown(plain.report)
    slower = [w for w in result.warnings if "SLOWER" in w]
    assert bool(slower) is (found["models"][1]["speedup"]["high"] < 1)
    with pytest.raises(ConditionError, match="below the 1000 required"):
        onnxq.quantize(network(), require_speedup=1000, **given)
