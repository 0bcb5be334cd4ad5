"""Golden test of keep-faster-float, and of the prediction that it rests on."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from onnxq.errors import OptionError
from onnxq.graph import Model
from onnxq.pipeline import Context
from onnxq.pipeline.latency import fastest, predict
from onnxq.targets.costs import Cost, Costs
from tests.passes.stages import run

CHAIN = """g (float[1,8,8,8] x) => (float[1,8,8,8] y)
    <float[8,8,3,3] w, float[8,1,3,3] d, float[8,8,1,1] v>
    { [dense] a = Conv <pads = [1,1,1,1]> (x, w)  [relu] r = Relu (a)
      [single] b = Conv <group = 8, pads = [1,1,1,1]> (r, d)
      [last] c = Conv (b, v)  [sum] e = Add (c, r)  [end] y = Conv (e, v) }"""
COSTS = Costs(
    floating={"Conv": Cost(0, 0, 1), "DepthwiseConv": Cost(0, 1), "Add": Cost(0, 1)},
    integer={"Conv": Cost(0, 0, 0.5), "DepthwiseConv": Cost(0, 40), "Add": Cost(0, 2)},
    quantize=Cost(0, 3),
    dequantize=Cost(0, 2),
)
ELEMENTS = 8 * 8 * 8


def planned(text: str = CHAIN) -> tuple[Model, Context]:
    return run(text, "plan-kernels")


def keep(costs: Costs, *, speedup: float = 1.1, least_ms: float = 0.0) -> Context:
    options = f'speedup={speedup},least_ms={least_ms},costs="{costs}"'
    return run(CHAIN, f"plan-kernels,keep-faster-float{{{options}}}")[1]


def test_what_is_slower_on_integers_stays_float() -> None:
    ctx = keep(COSTS, speedup=9)
    assert set(ctx.plan.nodes) == {"dense", "last", "sum", "end"}
    assert "slower on integers" in ctx.plan.kept_float["single"]


@pytest.mark.parametrize(("speedup", "warns"), [(60.0, True), (45.0, False), (0.5, False)])
def test_without_apply_it_only_warns(speedup: float, warns: bool) -> None:
    """A depthwise layer makes all of it 1.2 or 1.07 times as slow as float, or faster."""
    integer = dict(COSTS.integer) | {"DepthwiseConv": Cost(0, speedup)}
    costs = replace(COSTS, integer=integer)
    options = f'apply=false,least_ms=0.0,costs="{costs}"'
    _, ctx = run(CHAIN, f"plan-kernels,keep-faster-float{{{options}}}")
    assert len(ctx.plan.nodes) == 5
    found = [w for w in ctx.journal.warnings if "--latency-aware" in w]
    assert bool(found) == warns


def test_a_plan_that_is_fast_enough_stays() -> None:
    assert len(keep(COSTS, speedup=0.1).plan.nodes) == 5


def test_networks_that_take_next_to_nothing_stay() -> None:
    assert len(keep(COSTS, speedup=9, least_ms=1e3).plan.nodes) == 5


def test_the_prediction_adds_kernels_and_conversions() -> None:
    model, ctx = planned()
    found = predict(model, ctx, COSTS, ("dense", "sum"))
    assert found.nodes == pytest.approx(
        {
            "dense": 0.5e-9 * ELEMENTS * 72,  # Relu is absorbed
            "single": 1e-9 * ELEMENTS,
            "last": 1e-9 * ELEMENTS * 8,
            "sum": 2e-9 * ELEMENTS,
            "end": 1e-9 * ELEMENTS * 8,
        }
    )
    # x is quantized, r (behind Relu) dequantized for one reader, c quantized, e dequantized
    assert found.conversions == pytest.approx(
        {n: 1e-9 * ELEMENTS * v for n, v in {"x": 3, "r": 2, "c": 3, "e": 2}.items()}
    )
    assert found.total == sum(found.nodes.values()) + sum(found.conversions.values())


def test_a_gate_in_float_reads_one_conversion() -> None:
    text = """g (float[1,8,8,8] x) => (float[1,8,8,8] y) <float[8,8,3,3] w, float[8,8,1,1] v>
        { [first] a = Conv <pads = [1,1,1,1]> (x, w)  [sig] p = Sigmoid (a)  [gate] b = Mul (a, p)
          [last] y = Conv (b, v) }"""
    model, ctx = planned(text)
    found = predict(model, ctx, COSTS, ("first",))
    assert found.conversions["a"] == pytest.approx(2e-9 * ELEMENTS)


@pytest.mark.parametrize("single", [0.5, 4.0, 40.0])
@pytest.mark.parametrize("convert", [0.0, 1.0, 60.0])
def test_no_other_set_of_nodes_is_faster(single: float, convert: float) -> None:
    costs = Costs(
        floating=COSTS.floating,
        integer={**COSTS.integer, "DepthwiseConv": Cost(0, single)},
        quantize=Cost(100, convert),
        dequantize=Cost(100, convert),
    )
    model, ctx = planned()
    names = list(ctx.plan.nodes)
    sets = itertools.chain.from_iterable(
        itertools.combinations(names, k) for k in range(len(names) + 1)
    )
    best = min(predict(model, ctx, costs, chosen).total for chosen in sets)
    found = predict(model, ctx, costs, fastest(model, ctx, costs)).total
    assert found == pytest.approx(best, rel=1e-9)


def test_tables_are_read_back() -> None:
    assert Costs.parse(str(COSTS)) == Costs(
        floating=COSTS.floating,
        integer=COSTS.integer,
        quantize=COSTS.quantize,
        dequantize=COSTS.dequantize,
        layout=Cost(),
    )
    with pytest.raises(OptionError, match="no table of costs"):
        Costs.parse("Conv=1:2")


def test_targets_without_a_table_keep_their_plan() -> None:
    _, ctx = run(CHAIN, "plan-kernels,keep-faster-float{speedup=99,least_ms=0.0}", target="arm")
    assert len(ctx.plan.nodes) == 5
