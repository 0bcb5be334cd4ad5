from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
import pytest

from onnxq.calibrate.statistics import Statistics
from onnxq.errors import OnnxqError, OptionError, PassError
from onnxq.graph import insert_node
from onnxq.pipeline import Context, PassManager, Stage, Verify
from tests.pipeline.support import TARGET, add_identity, chain, cut, drop, make, run_reference


@dataclass(frozen=True)
class Seen:
    """An observer that counts samples."""

    key: str = "seen"

    def init(self) -> int:
        return 0

    def update(self, state: int, sample: int, x: Any) -> int:
        return state + 1

    def merge(self, a: int, b: int) -> int:
        return a + b

    def to_arrays(self, state: int) -> dict[str, Any]:
        return {"n": np.array(state)}

    def from_arrays(self, arrays: dict[str, Any]) -> int:
        return int(arrays["n"])


def nothing(model, ctx) -> None:
    pass


def test_journal_counts_edits_and_declines() -> None:
    def declines(model, ctx):
        ctx.decline(model.node("abs"), "not today")

    passes = [make("add", add_identity), make("look", declines), make("drop", drop("copy"))]
    ctx = Context(target=TARGET)
    journal = PassManager(passes, verify=Verify.FULL, compare=run_reference).run(chain(), ctx)
    assert journal is ctx.journal
    counts = [(r.name, r.nodes_added, r.nodes_removed, r.changed) for r in journal.records]
    assert counts == [("add", 1, 0, True), ("look", 0, 0, False), ("drop", 0, 1, True)]
    assert [(d.pass_name, d.node, d.reason) for d in journal.declines] == [
        ("look", "abs", "not today")
    ]
    assert all(r.seconds >= 0 for r in journal.records)


@pytest.mark.parametrize("where", ["attribute", "value", "wiring", "name"])
def test_changes_without_new_nodes_are_seen(where: str) -> None:
    model = chain()
    relu, neg = model.node("relu"), model.node("neg")
    neg.inputs[0] = gs.Constant("c", np.ones((1, 4), np.float32))

    def edit(model, ctx):
        if where == "attribute":
            relu.attrs["k"] = 1
        elif where == "value":
            neg.inputs[0].values = np.zeros((1, 4), np.float32)
        elif where == "wiring":
            neg.inputs[0] = relu.outputs[0]
        else:
            relu.outputs[0].name = "a2"

    ctx = Context(target=TARGET)
    PassManager([make("edit", edit)], verify=Verify.NONE).run(model, ctx)
    assert ctx.journal.records[0].changed


@pytest.mark.parametrize(
    ("edit", "invariant", "where"),
    [
        (cut, "every input has a source", "abs"),
        (lambda m, c: setattr(m.node("neg"), "name", "relu"), "names are unique", "relu"),
        (lambda m, c: setattr(m.node("relu").outputs[0], "name", "b"), "names are unique", "b"),
        (lambda m, c: setattr(m.graph.outputs[0], "name", "z"), "graph outputs kept", "y"),
        (lambda m, c: setattr(m.graph.outputs[0], "dtype", np.int32), "graph outputs kept", "y"),
        (lambda m, c: setattr(m.graph.outputs[0], "shape", (1, 5)), "graph outputs kept", "y"),
        (lambda m, c: setattr(m.graph.inputs[0], "shape", (2, 4)), "graph inputs kept", "x"),
        (
            lambda m, c: m.node("relu").inputs.__setitem__(0, m.node("neg").outputs[0]),
            "no cycle",
            "relu",
        ),
        (
            lambda m, c: insert_node(
                m, "Abs", [m.graph.inputs[0]], [m.node("neg").outputs[0]], name="again"
            ),
            "every tensor has one source",
            "again",
        ),
    ],
)
def test_broken_invariants_name_pass_invariant_and_node(edit, invariant, where) -> None:
    passes = [make("good", nothing), make("bad", edit), make("later", nothing)]
    with pytest.raises(PassError) as caught:
        PassManager(passes).run(chain(), Context(target=TARGET))
    assert str(caught.value).startswith(f"bad: broke '{invariant}' at '{where}")


def test_stated_shapes_may_be_refined_and_interfaces_changed_on_purpose() -> None:
    model = chain()
    model.graph.outputs[0].shape = ("n", 4)

    def refine(model, ctx):
        model.graph.outputs[0].shape = (1, 4)

    def rename(model, ctx):
        model.graph.outputs[0].name = "z"

    passes = [
        make("refine", refine),
        make("rename", rename, stage=Stage.EMIT, preserves=None, changes_interface=True),
        make("after", nothing, stage=Stage.EMIT),
    ]
    PassManager(passes).run(model, Context(target=TARGET))
    assert model.graph.outputs[0].name == "z"


def test_what_was_broken_before_is_not_blamed_on_a_pass() -> None:
    model = chain()
    model.node("neg").name = "relu"
    PassManager([make("good", nothing)]).run(model, Context(target=TARGET))


def test_an_output_without_a_shape_is_not_blamed_on_a_pass() -> None:
    def rename(model, ctx):
        model.node("neg").name = "minus"

    model = chain()
    model.graph.outputs[0].shape = None
    assert not model.to_proto().graph.output[0].type.tensor_type.HasField("shape")
    PassManager([make("good", rename)]).run(model, Context(target=TARGET))


def test_checker_runs_at_the_end_of_a_stage() -> None:
    def unknown_operator(model, ctx):
        model.node("neg").op = "Negg"

    with pytest.raises(PassError, match=r"unknown: the model is no longer valid ONNX\n.*Negg"):
        PassManager([make("unknown", unknown_operator)]).run(chain(), Context(target=TARGET))
    PassManager([make("unknown", unknown_operator)], verify=Verify.NONE).run(
        chain(), Context(target=TARGET)
    )


@pytest.mark.parametrize("verify", [Verify.EACH, Verify.STAGE, Verify.FULL])
def test_a_changed_function_is_traced_to_its_pass(verify: Verify) -> None:
    passes = [
        make("fine", add_identity),
        make("wrong", drop("relu")),
        make("fine-too", drop("neg")),
    ]
    with pytest.raises(PassError) as caught:
        PassManager(passes, verify=verify, compare=run_reference).run(
            chain(), Context(target=TARGET)
        )
    # |−1| instead of relu(−1) = 0, of a largest value 4
    assert "wrong: changed the function" in str(caught.value)
    assert "output 'y' deviates by 2.50e-01" in str(caught.value)
    assert "at most 1e-05" in str(caught.value)


def test_declared_changes_pass_and_reset_the_reference() -> None:
    passes = [
        make("meant", drop("relu"), preserves=None),
        make("fine", drop("neg")),
        make("next", nothing, stage=Stage.PLAN),
    ]
    PassManager(passes, compare=run_reference).run(chain(), Context(target=TARGET))
    loose = make("loose", drop("relu"), preserves=0.3)
    PassManager([loose], compare=run_reference).run(chain(), Context(target=TARGET))


def test_errors_of_passes_are_named() -> None:
    def fails(model, ctx):
        raise KeyError("w")

    def refuses(model, ctx):
        raise OptionError("no")

    with pytest.raises(PassError, match=r"fails: failed with KeyError"):
        PassManager([make("fails", fails)]).run(chain(), Context(target=TARGET))
    with pytest.raises(OptionError, match="no"):
        PassManager([make("refuses", refuses)]).run(chain(), Context(target=TARGET))


def test_one_run_serves_all_that_is_wanted() -> None:
    runs = []

    def measure(model, wanted, samples=None):
        runs.append(dict(wanted))
        return Statistics({t: dict.fromkeys(obs, 1) for t, obs in wanted.items()}, 1)

    def want(*names, key="seen"):
        return lambda model, ctx: {n: (Seen(key),) for n in names}

    told = []

    class Told:
        def stage(self, name):
            told.append(name)

        def advance(self, done, total):
            told.append((done, total))

    passes = [
        make("none", nothing),
        make("first", nothing, stage=Stage.PLAN, wants=want("a")),
        make("second", nothing, stage=Stage.CORRECT, wants=want("a", "b", "gone", key="other")),
        make("third", nothing, stage=Stage.CORRECT, wants=want("b")),
    ]
    passes[2] = make("second", nothing, stage=Stage.CORRECT, wants=want("a", "b", key="other"))
    ctx = Context(target=TARGET, measure=measure)
    PassManager(passes, progress=Told()).run(chain(), ctx)
    assert runs == [{"a": (Seen(), Seen("other")), "b": (Seen("other"), Seen())}]
    assert told == ["fuse", "plan", "calibrate", "plan", "correct"]


def test_wanting_what_is_not_there_is_an_error() -> None:
    lost = make("lost", nothing, wants=lambda m, c: {"nowhere": (Seen(),)})
    with pytest.raises(PassError, match="lost: wants statistics of 'nowhere'"):
        PassManager([lost]).run(chain(), Context(target=TARGET))
    dry = make("dry", nothing, wants=lambda m, c: {"a": (Seen(),)})
    with pytest.raises(OnnxqError, match="no data"):
        PassManager([dry]).run(chain(), Context(target=TARGET))


def test_unusual_order_is_kept_and_noted() -> None:
    ctx = Context(target=TARGET)
    passes = [make("late", nothing, stage=Stage.EMIT), make("early", nothing)]
    PassManager(passes).run(chain(), ctx)
    assert [r.name for r in ctx.journal.records] == ["late", "early"]
    assert ctx.journal.warnings == [
        "'early' (fuse) runs after 'late' (emit), as given; the usual order is the reverse"
    ]


def test_nothing_is_run_where_nothing_changed() -> None:
    runs = []

    def compare(model, optimize=True):
        runs.append([n.name for n in model.graph.nodes])
        return run_reference(model)

    passes = [
        make("look", nothing),
        make("again", nothing, stage=Stage.PLAN),
        make("add", add_identity, stage=Stage.CORRECT),
    ]
    PassManager(passes[:2], compare=compare).run(chain(), Context(target=TARGET))
    assert runs == []
    PassManager(passes, compare=compare).run(chain(), Context(target=TARGET))
    assert [len(names) for names in runs] == [3, 4]


def test_a_pass_is_found_when_the_model_no_longer_runs() -> None:
    def compare(model, optimize=True):
        if "abs" not in [n.name for n in model.graph.nodes]:
            raise OnnxqError("cannot run")
        return run_reference(model)

    passes = [make("fine", add_identity), make("worst", drop("abs")), make("late", drop("copy"))]
    with pytest.raises(PassError, match="worst: the model no longer runs\ncannot run"):
        PassManager(passes, compare=compare).run(chain(), Context(target=TARGET))


def test_bisecting_leaves_the_context_alone() -> None:
    def plans(model, ctx):
        ctx.plan.keep_float("neg", "test")
        ctx.decline("neg", "test")
        model.node("relu").op = "Neg"

    ctx = Context(target=TARGET)
    with pytest.raises(PassError, match="plans: changed the function"):
        PassManager([make("plans", plans)], compare=run_reference).run(chain(), ctx)
    assert len(ctx.journal.records) == 1
    assert len(ctx.journal.declines) == 1
