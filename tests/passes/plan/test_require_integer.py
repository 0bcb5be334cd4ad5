from __future__ import annotations

import pytest

from onnxq.errors import UnsupportedModelError
from tests.passes.stages import run

NET = """g (float[1,2,4,4] x) => (float[1,2,4,4] y)
    <float[2,2,1,1] a> { [one] p = Conv(x, a)  [curve] y = Exp(p) }"""


def test_an_operator_without_integers_is_refused_by_name_with_the_remedy() -> None:
    with pytest.raises(UnsupportedModelError) as found:
        run(NET, "plan-kernels,require-integer", target="fpga-pow2")
    text = str(found.value)
    assert "'curve' (Exp) cannot run on fpga-pow2" in text
    assert "no integer kernel for Exp" in text
    assert "--exclude 'curve'" in text


def test_excluded_nodes_run_on_the_host() -> None:
    _, ctx = run(
        NET, 'exclude-nodes{patterns=["curve"]},plan-kernels,require-integer', target="fpga-pow2"
    )
    assert [*ctx.plan.nodes] == ["one"]


def test_a_node_that_is_not_eligible_is_refused_with_the_reason() -> None:
    text = (
        NET.replace("Exp(p)", "Conv(p, x)")
        .replace("float[1,2,4,4] x", "float[2,2,1,1] x")
        .replace("[1,2,4,4] y", "[2,2,1,1] y")
    )
    with pytest.raises(UnsupportedModelError, match="is computed, not stored"):
        run(text, "plan-kernels,require-integer", target="fpga-pow2")


def test_computations_on_shapes_are_none_on_data() -> None:
    text = """g (float[1,2,4,4] x) => (float[1,2,4,4] y)
        <float[2,2,1,1] a> { [one] p = Conv(x, a)  [shape] s = Shape(x)  [as] y = Reshape(p, s) }"""
    _, ctx = run(text, "plan-kernels,require-integer", target="fpga-pow2")
    assert [*ctx.plan.nodes] == ["one", "as"]


def test_absorbed_activations_need_no_kernel_and_other_targets_decline() -> None:
    text = NET.replace("Exp(p)", "Relu(p)")
    run(text, "plan-kernels,require-integer", target="dpu")
    run(NET, "plan-kernels,require-integer", target="x86")
