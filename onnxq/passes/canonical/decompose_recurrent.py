"""decompose-recurrent: recurrent layers as products and functions, which have integer kernels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.graph import Model, attribute, remove_node
from onnxq.passes._scope import is_standard, present
from onnxq.passes._types import Stated
from onnxq.passes.canonical._cells import GATES, STATES, Cell, Writer
from onnxq.passes.canonical._computed import Computed
from onnxq.pipeline import Context, Pass, Stage

_FUNCTIONS = {"RNN": ("Tanh",), "GRU": ("Sigmoid", "Tanh"), "LSTM": ("Sigmoid", "Tanh", "Tanh")}
_KNOWN = ("Sigmoid", "Tanh", "Relu")


@dataclass(frozen=True, kw_only=True)
class DecomposeRecurrent(Pass):
    """Write LSTM, GRU and RNN as products, gates and states.

    What it does
        A layer of at most ``steps`` steps, known for every input, is written out step by step: so
        are the layers of streaming models, which take one. Others become a Scan, whose body is one
        step.

    Why
        There are no recurrent kernels on integers whose scales are chosen in advance. In parts,
        both products of a step run on integers, and states and gates are calibrated as any tensor.
        It costs speed where a step is small: a Scan takes longer than the layer.

    Example
        ``decompose-recurrent{steps=4,scan=false}``

    When it declines
        Weights that are computed, lengths that vary within a batch, peepholes, clipped cells,
        coupled gates, activations other than Sigmoid, Tanh and Relu, layout 1. More steps, or
        unknown ones, with ``scan=false``. Layers in sub-graphs are left to their body.

    Numerics
        The same function; sums are taken in another order.

    Source
        ONNX operators LSTM-14, GRU-14, RNN-14 and Scan-11.

    Attributes:
        steps: most steps that are written out.
        scan: whether longer layers become a Scan.
    """

    name: ClassVar[str] = "decompose-recurrent"
    stage: ClassVar[Stage] = Stage.CANONICALIZE
    preserves: ClassVar[float | None] = 1e-4

    steps: int = 1
    scan: bool = True

    def run(self, model: Model, ctx: Context) -> None:
        stated, known = Stated(model), Computed(model)
        for node in list(model.graph.nodes):
            if node.op not in GATES or not is_standard(node):
                continue
            shape = stated.shape(node.inputs[0])
            length = None if shape is None else shape[0]
            short = length is not None and length <= self.steps
            cells = _cells(node, known, length)
            if isinstance(cells, str):
                ctx.decline(node, cells)
            elif not short and not self.scan:
                ctx.decline(node, f"it takes {length or 'any number of'} steps, not {self.steps}")
            else:
                _Layer(model, node, cells).write(length if short else None)


def _cells(node: gs.Node, known: Computed, length: int | None) -> list[Cell] | str:
    """The directions of *node*, or why it stays."""
    values = [known.value(node.inputs[i]) if present(node, i) else None for i in range(1, 4)]
    weights, recurrent, bias = values
    if weights is None or recurrent is None or (present(node, 3) and bias is None):
        return "its weights are computed"
    if weights.dtype != np.float32:
        return "its weights are not float32"
    lengths = known.value(node.inputs[4]) if present(node, 4) else None
    if present(node, 4) and (lengths is None or length is None or np.any(lengths != length)):
        return "lengths vary within a batch"
    if present(node, 7):
        return "it has peepholes"
    for name in ("clip", "input_forget", "layout", "activation_alpha", "activation_beta"):
        if attribute(node, name, 0):
            return f"its attribute {name}"
    both = len(weights)
    functions = attribute(node, "activations") or [*_FUNCTIONS[node.op]] * both
    if any(f not in _KNOWN for f in functions):
        return f"its activations are {', '.join(functions)}"
    each, rows = len(_FUNCTIONS[node.op]), weights.shape[1]
    added = np.zeros((both, 2 * rows), np.float32) if bias is None else bias
    return [
        Cell(
            node.op, weights[d], recurrent[d], (added[d, :rows], added[d, rows:]),
            tuple(functions[d * each : (d + 1) * each]),
            not attribute(node, "linear_before_reset", 0),
        )
        for d in range(both)
    ]  # fmt: skip


class _Layer:
    def __init__(self, model: Model, node: gs.Node, cells: list[Cell]) -> None:
        self.model, self.node, self.cells = model, node, cells
        self.write_outside = Writer(model, model.graph, node)
        self.count = STATES[node.op]
        direction = attribute(node, "direction", "forward")
        self.backward = [direction == "reverse", True][: len(cells)]  # the second is always

    def write(self, length: int | None) -> None:
        """Replace the node; *length* steps are written out, None makes a Scan."""
        outputs = [*self.node.outputs]
        outputs += [gs.Variable.empty()] * (1 + self.count - len(outputs))
        sequences, ends = [], []
        for d, cell in enumerate(self.cells):
            states = [self._begin(d, s, cell) for s in range(self.count)]
            if length is None:
                sequence, last = self._scanned(cell, states, self.backward[d])
            else:
                sequence, last = self._unrolled(cell, states, self.backward[d], length)
            sequences.append(sequence)
            ends.append(last)
        write = self.write_outside
        self.node.outputs.clear()
        if outputs[0].name:
            self._joined(sequences, outputs[0])
        for s, wanted in enumerate(outputs[1 : 1 + self.count]):
            if wanted.name:
                parts = [_row(write, last[s], 0, "end") for last in ends]
                self._concat(parts, wanted, 0)
        remove_node(self.model, self.node)

    def _begin(self, d: int, s: int, cell: Cell) -> gs.Tensor:
        """The first state [batch, hidden]."""
        write, index = self.write_outside, 5 + s
        if present(self.node, index):
            at = write.constant("direction", np.array(d, np.int64))
            return write.node("Gather", [self.node.inputs[index], at], "begin", axis=0)
        shape = write.node("Shape", [self.node.inputs[0]], "shape")
        batch = write.node("Gather", [shape, write.constant("batch_axis", [1])], "batch", axis=0)
        size = write.constant("hidden", np.array([cell.hidden], np.int64))
        both = write.node("Concat", [batch, size], "state_shape", axis=0)
        zero = gs.Constant("value", np.zeros(1, np.float32))
        return write.node("ConstantOfShape", [both], "zeros", value=zero)

    def _unrolled(
        self, cell: Cell, states: list[gs.Tensor], backward: bool, length: int
    ) -> tuple[gs.Tensor, list[gs.Tensor]]:
        write = self.write_outside
        step, rows = cell.step(write), []
        order = range(length)
        for t in reversed(order) if backward else order:
            at = write.constant("step", np.array(t, np.int64))
            x = write.node("Gather", [self.node.inputs[0], at], "input", axis=0)
            states = step(x, states)
            rows.append(_row(write, states[0], 0, "output"))
        rows = rows[::-1] if backward else rows
        whole = rows[0] if len(rows) == 1 else write.node("Concat", rows, "outputs", axis=0)
        return whole, states

    def _scanned(
        self, cell: Cell, states: list[gs.Tensor], backward: bool
    ) -> tuple[gs.Tensor, list[gs.Tensor]]:
        model, name = self.model, self.node.name
        dtype = np.float32
        batch, n, k = "batch", cell.hidden, cell.weights.shape[1]
        held = [gs.Variable(model.unique_name(f"{name}__held_{s}"), dtype, [batch, n])
                for s in range(self.count)]  # fmt: skip
        x = gs.Variable(model.unique_name(f"{name}__x"), dtype, [batch, k])
        body = gs.Graph(inputs=[*held, x], name=f"{name}__step", opset=model.opset)
        inside = Writer(model, body, self.node)
        after = cell.step(inside)(x, [*held])
        shown = inside.node("Identity", [after[0]], "shown_state")
        body.outputs = [*after, shown]
        for tensor in body.outputs:
            tensor.dtype, tensor.shape = dtype, [batch, n]
        turned = {"scan_input_directions": [1], "scan_output_directions": [1]} if backward else {}
        found = self.write_outside.nodes(
            "Scan", [*states, self.node.inputs[0]], "scan", self.count + 1, body=body,
            num_scan_inputs=1, **turned,
        )  # fmt: skip
        return found[-1], [*found[:-1]]

    def _joined(self, sequences: list[gs.Tensor], wanted: gs.Tensor) -> None:
        """[steps, directions, batch, hidden] of [steps, batch, hidden]."""
        write = self.write_outside
        self._concat([_row(write, s, 1, "direction") for s in sequences], wanted, 1)

    def _concat(self, parts: list[gs.Tensor], wanted: gs.Tensor, axis: int) -> None:
        write = self.write_outside
        made: Any = write.node("Concat", parts, "joined", axis=axis) if parts[1:] else parts[0]
        made.inputs[0].outputs[0] = wanted


def _row(write: Writer, x: gs.Tensor, axis: int, what: str) -> gs.Tensor:
    """*x* with a new axis of one, in the form of the model's opset."""
    if write.model.opset < 13:
        return write.node("Unsqueeze", [x], what, axes=[axis])
    at = write.constant(f"{what}_axis", np.array([axis], np.int64))
    return write.node("Unsqueeze", [x, at], what)
