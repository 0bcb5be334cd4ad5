"""Passes and models for the tests of the pipeline."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import ClassVar, Literal

import numpy as np
import onnx
import onnx.parser
import onnx_graphsurgeon as gs

from onnxq.graph import Model, bypass, insert_node, remove_node
from onnxq.pipeline import Context, Pass, Stage
from onnxq.quant import INT8, UINT8, DType, PerTensor, QuantSpec
from onnxq.targets import Target

TARGET = Target(
    name="test",
    summary="for tests",
    activations=QuantSpec(dtype=UINT8),
    weights=QuantSpec(dtype=INT8, granularity=PerTensor()),
    rules={},
)


def chain() -> Model:
    """x → Relu → Neg → Abs → y."""
    text = """
    <ir_version: 8, opset_import: ["" : 17]>
    chain (float[1, 4] x) => (float[1, 4] y)
    { [relu] a = Relu(x)  [neg] b = Neg(a)  [abs] y = Abs(b) }
    """
    return Model.load(onnx.parser.parse_model(text))


def run_reference(model: Model, *, optimize: bool = True) -> dict[str, np.ndarray]:
    """Outputs of a model on one fixed sample."""
    from onnx.reference import ReferenceEvaluator

    x = np.array([[-1.0, 2.0, 3.0, 4.0]], np.float32)
    evaluator = ReferenceEvaluator(model.to_proto())
    return dict(zip(evaluator.output_names, evaluator.run(None, {"x": x}), strict=True))


class Method(Enum):
    ONE = "one"
    TWO = "two-fold"


@dataclass(frozen=True, kw_only=True)
class Many(Pass):
    """Has an option of every kind.

    Attributes:
        count: how many
            of them.
        ratio: a share.
    """

    name: ClassVar[str] = "many"
    stage: ClassVar[Stage] = Stage.FUSE
    preserves: ClassVar[float | None] = 0.0

    count: int = 3
    ratio: float = 0.5
    flag: bool = False
    text: str = "plain"
    method: Method = Method.ONE
    kind: Literal["tensor", "channel"] = "tensor"
    sizes: tuple[int, ...] = ()
    names: list[str] = field(default_factory=list)
    pair: tuple[float, float] | None = None
    either: int | str = 1
    dtype: DType = INT8

    def run(self, model: Model, ctx: Context) -> None:
        """Nothing."""


def make(
    name: str,
    run: Callable[[Model, Context], None],
    *,
    stage: Stage = Stage.FUSE,
    preserves: float | None = 1e-5,
    changes_interface: bool = False,
    wants: Callable[[Model, Context], dict] | None = None,
) -> Pass:
    """A pass that does *run*."""
    body = {
        "name": name,
        "stage": stage,
        "preserves": preserves,
        "changes_interface": changes_interface,
        "run": lambda self, model, ctx: run(model, ctx),
        "__doc__": name,
    }
    if wants:
        body["wants"] = lambda self, model, ctx: wants(model, ctx)
    return dataclass(frozen=True, kw_only=True)(type(name, (Pass,), body))()


def drop(node: str) -> Callable[[Model, Context], None]:
    """A rewrite that takes *node* out."""
    return lambda model, ctx: bypass(model, model.node(node))


def add_identity(model: Model, ctx: Context) -> None:
    """A rewrite that changes nothing of the function: an Identity behind 'a'."""
    relu = model.node("relu")
    new = gs.Variable("a_copy", np.float32, (1, 4))
    neg = model.node("neg")
    insert_node(model, "Identity", [relu.outputs[0]], [new], name="copy")
    neg.inputs[0] = new


def cut(model: Model, ctx: Context) -> None:
    """A broken rewrite: the producer of 'b' is gone, its reader stays."""
    remove_node(model, model.node("neg"))
