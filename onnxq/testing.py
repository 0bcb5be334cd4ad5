"""The contract that any pass must meet, ours or a plug-in's.

::

    from onnxq.testing import check_pass

    def test_my_pass():
        check_pass(MyPass(), model)      # AssertionError: what is broken, and where
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from onnxq.calibrate.driver import calibrate
from onnxq.graph import Model
from onnxq.pipeline import Context, Pass, PassManager, Recipe, Stage, TensorFact, Verify
from onnxq.pipeline.documentation import pass_doc
from onnxq.pipeline.equivalence import worst
from onnxq.pipeline.options import options_of
from onnxq.runtime.probe import probe
from onnxq.runtime.session import Session
from onnxq.targets import Target, get_target

Feed = Mapping[str, NDArray[Any]]


def check_pass(
    pass_: Pass,
    model_proto: onnx.ModelProto,
    *,
    data: Iterable[Feed] | None = None,
    prepare: Sequence[Pass] = (),
    target: str | Target = "x86",
) -> Context:
    """Run *pass_* on a copy of *model_proto* and check all that a pass owes.

    The model is valid afterwards and runs; its function is kept within what the pass declares;
    weights that the pass has no business with keep their bytes, and no array is written into; two
    runs give the same bytes; the options survive a recipe; the documentation is complete.

    Args:
        pass_: the pass.
        model_proto: a small model.
        data: samples, ``{input name: array}``; random ones by default.
        prepare: passes that run before it, such as those that make the plan which it carries out.
        target: the hardware profile.

    Returns:
        The context of the run, for further checks (journal, plan, scales).

    Raises:
        AssertionError: what is broken, and where.
    """
    check_declaration(pass_)
    samples = list(data) if data is not None else random_feeds(model_proto)
    model, ctx = _start(model_proto, samples, target)
    PassManager(prepare, verify=Verify.NONE).run(model, ctx)
    before = model.to_proto()
    aside = model.clone()
    reference = _outputs(before, samples)
    _manager([pass_]).run(model, ctx)
    after = model.to_proto()

    _assert_valid(pass_, after)
    if pass_.preserves is not None:
        name, error = worst(reference, _outputs(after, samples), pass_.preserves)
        assert not name, (
            f"{pass_.name}: output '{name}' deviates by {error:.2e} of its largest value, "
            f"declared are {pass_.preserves:g}"
        )
    else:
        _outputs(after, random_feeds(after) if pass_.changes_interface else samples)
    _assert_weights_kept(pass_, before, after)
    assert _bytes(aside.to_proto()) == _bytes(before), (
        f"{pass_.name}: an array was written into; replace it, for copies of the model share it"
    )
    again, other = _start(model_proto, samples, target)
    PassManager(prepare, verify=Verify.NONE).run(again, other)
    _manager([pass_]).run(again, other)
    assert _bytes(again.to_proto()) == _bytes(after), f"{pass_.name}: two runs gave other bytes"
    assert repr(ctx.plan) == repr(other.plan), f"{pass_.name}: two runs gave other plans"
    return ctx


def check_declaration(pass_: Pass) -> None:
    """Check what a pass says of itself: frozen, named, documented, options as in recipes.

    Raises:
        AssertionError: what is missing.
    """
    cls = type(pass_)
    params = getattr(cls, "__dataclass_params__", None)
    assert "__dataclass_fields__" in vars(cls), f"{cls.__name__} is not a dataclass"
    assert params is not None and params.frozen, f"{pass_.name}: the dataclass is not frozen"
    hash(pass_)
    assert isinstance(pass_.stage, Stage), f"{pass_.name}: 'stage' is not a Stage"
    assert pass_.preserves is None or pass_.preserves >= 0, f"{pass_.name}: 'preserves' below 0"
    doc = pass_doc(cls)
    assert doc.summary, f"{pass_.name}: the docstring has no first line"
    assert not doc.missing, f"{pass_.name}: the docstring lacks {', '.join(doc.missing)}"
    for option in options_of(cls).values():
        assert option.help, f"{pass_.name}: 'Attributes:' does not explain '{option.name}'"
    text = str(Recipe((pass_,)))
    again = Recipe.parse(text, known={pass_.name: cls}).passes[0]
    assert again == pass_, f"{pass_.name}: '{text}' reads back as {again}"
    for field in dataclasses.fields(pass_):
        one, two = getattr(pass_, field.name), getattr(again, field.name)
        assert type(one) is type(two), f"{pass_.name}: '{field.name}' reads back as {type(two)}"


def random_feeds(model: onnx.ModelProto, count: int = 4, seed: int = 0) -> list[Feed]:
    """*count* samples of standard normal inputs; free dimensions are 1, integers 0 or 1."""
    rng = np.random.default_rng(seed)
    stored = {t.name for t in model.graph.initializer}
    feeds: list[Feed] = []
    for _ in range(count):
        feed = {}
        for value in model.graph.input:
            if value.name not in stored:
                kind = value.type.tensor_type
                dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
                x = rng.normal(size=[d.dim_value or 1 for d in kind.shape.dim])
                feed[value.name] = np.asarray(x if dtype.kind == "f" else x > 0).astype(dtype)
        feeds.append(feed)
    return feeds


def _start(
    proto: onnx.ModelProto, samples: list[Feed], target: str | Target
) -> tuple[Model, Context]:
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)

    def facts(model: Model) -> dict[str, TensorFact]:
        found = probe(model, samples[0])
        return {name: TensorFact(info.dtype, info.shape) for name, info in found.items()}

    ctx = Context(
        target=get_target(target),
        measure=lambda model, wanted, first=None: calibrate(model, wanted, samples[:first]),
        probe=facts,
    )
    return Model.load(copy), ctx


def _manager(passes: Sequence[Pass]) -> PassManager:
    return PassManager(passes, verify=Verify.FULL)


def _outputs(proto: onnx.ModelProto, samples: list[Feed]) -> dict[str, NDArray[Any]]:
    """Outputs of every sample, without the optimizations of the runtime."""
    session = Session(proto, optimize=False)
    found = {}
    for i, feed in enumerate(samples):
        taken = {k.name: feed[k.name] for k in session.inputs if k.name in feed}
        for name, value in session.run(taken).items():
            found[f"{name}, sample {i}"] = value
    return found


def _assert_valid(pass_: Pass, proto: onnx.ModelProto) -> None:
    try:
        onnx.checker.check_model(proto, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise AssertionError(f"{pass_.name}: not valid afterwards: {error}") from error


def _assert_weights_kept(pass_: Pass, before: onnx.ModelProto, after: onnx.ModelProto) -> None:
    """A weight whose readers, and all nodes beside them, are as before has the same bytes.

    Equalizing passes change weights of nodes that stay as they are, and are exempt.
    """
    if pass_.stage is Stage.EQUALIZE:
        return
    old, new = _values(before), _values(after)
    same = _untouched(before, after)
    readers: dict[str, list[int]] = {}
    for i, node in enumerate(before.graph.node):
        for name in node.input:
            readers.setdefault(name, []).append(i)
    for name, value in old.items():
        if name in readers and name in new and all(i in same for i in readers[name]):
            kept = _same_values(value, new[name])
            assert kept, f"{pass_.name}: the weight '{name}' changed, its readers did not"


def _same_values(old: NDArray[Any], new: NDArray[Any]) -> bool:
    """Whether the bytes are the same, or were before they were stored in a wider type."""
    wider = old.dtype.kind == new.dtype.kind == "f" and np.can_cast(old.dtype, new.dtype)
    if wider:
        new = new.astype(old.dtype)
    return old.dtype == new.dtype and old.tobytes() == new.tobytes()


def _untouched(before: onnx.ModelProto, after: onnx.ModelProto) -> set[int]:
    """Indices of nodes of *before* that are in *after* too, with all that they touch."""
    still = {n.SerializeToString(deterministic=True) for n in after.graph.node}
    nodes = list(before.graph.node)
    kept = {i for i, n in enumerate(nodes) if n.SerializeToString(deterministic=True) in still}
    lost = {t for i, n in enumerate(nodes) if i not in kept for t in (*n.input, *n.output)}
    return {i for i in kept if lost.isdisjoint((*nodes[i].input, *nodes[i].output))}


def _values(proto: onnx.ModelProto) -> dict[str, NDArray[Any]]:
    return {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}


def _bytes(proto: onnx.ModelProto) -> bytes:
    return bytes(proto.SerializeToString(deterministic=True))


__all__ = ["check_declaration", "check_pass", "random_feeds"]
