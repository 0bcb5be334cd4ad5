"""The cells of recurrent layers in primitive operators, one step at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxq.graph import Model, insert_node

Array = NDArray[np.float32]
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
STATES = {"RNN": 1, "GRU": 1, "LSTM": 2}


class Writer:
    """Adds nodes to one graph, called after the node that they replace."""

    def __init__(self, model: Model, graph: gs.Graph, like: gs.Node) -> None:
        self.model, self.graph, self.like = model, graph, like

    def constant(self, what: str, value: Any) -> gs.Constant:
        """A constant, its name made of *what* it is."""
        return gs.Constant(self.model.unique_name(f"{self.like.name}__{what}"), np.asarray(value))

    def nodes(
        self, op: str, inputs: Sequence[gs.Tensor], what: str, count: int = 1, **attrs: Any
    ) -> list[gs.Variable]:
        """A node with *count* outputs."""
        name = self.model.unique_name(f"{self.like.name}__{what}")
        found = [gs.Variable(self.model.unique_name(f"{name}_{i}")) for i in range(count)]
        insert_node(self.model, op, list(inputs), found, attrs, name=name, graph=self.graph,
                    like=self.like)  # fmt: skip
        return found

    def node(self, op: str, inputs: Sequence[gs.Tensor], what: str, **attrs: Any) -> gs.Variable:
        """A node with one output."""
        return self.nodes(op, inputs, what, **attrs)[0]

    def split(self, x: gs.Tensor, sizes: Sequence[int], what: str) -> list[gs.Variable]:
        """Parts of *x* along its last axis, in the form of the model's opset."""
        if self.model.opset < 13:
            return self.nodes("Split", [x], what, len(sizes), axis=1, split=list(sizes))
        lengths = self.constant(f"{what}_sizes", np.array(sizes, np.int64))
        return self.nodes("Split", [x, lengths], what, len(sizes), axis=1)


@dataclass(frozen=True)
class Cell:
    """One direction of a recurrent layer.

    Attributes:
        op: RNN, GRU or LSTM.
        weights: [gates · hidden, values].
        recurrent: [gates · hidden, hidden].
        biases: of the input's and of the state's product, [gates · hidden] each.
        functions: operator types of its activations, in ONNX's order.
        reset_first: of a GRU, whether the reset gate is applied to the state, not to its product.
    """

    op: str
    weights: Array
    recurrent: Array
    biases: tuple[Array, Array]
    functions: tuple[str, ...]
    reset_first: bool

    @property
    def hidden(self) -> int:
        """Values of the state."""
        return int(self.recurrent.shape[1])

    def step(self, write: Writer) -> Callable[[gs.Tensor, list[gs.Tensor]], list[gs.Tensor]]:
        """A function that writes one step: of x [batch, values] and states, the next states.

        Weights are stored once, whatever the number of steps.
        """
        w = self._linear(write, "input", self.weights, self.biases[0])
        if self.op != "GRU" or not self.reset_first:
            r = self._linear(write, "state", self.recurrent, self.biases[1])
            cells = {"RNN": self._rnn, "GRU": self._gru, "LSTM": self._lstm}
            return lambda x, states: cells[self.op](write, w(x), r(states[0]), states)
        two = 2 * self.hidden
        gates = self._linear(write, "gates", self.recurrent[:two], self.biases[1][:two])
        last = self._linear(write, "new", self.recurrent[two:], self.biases[1][two:])
        return lambda x, states: self._gru_reset_first(write, w(x), gates, last, states[0])

    @staticmethod
    def _linear(
        write: Writer, what: str, weight: Array, bias: Array
    ) -> Callable[[gs.Tensor], gs.Tensor]:
        stored = write.constant(f"{what}_weight", np.ascontiguousarray(weight.T))
        added = write.constant(f"{what}_bias", bias)
        return lambda x: write.node("Gemm", [x, stored, added], f"{what}_product")

    def _rnn(
        self, write: Writer, a: gs.Tensor, b: gs.Tensor, _: list[gs.Tensor]
    ) -> list[gs.Tensor]:
        both = write.node("Add", [a, b], "sum")
        return [write.node(self.functions[0], [both], "state")]

    def _lstm(
        self, write: Writer, a: gs.Tensor, b: gs.Tensor, states: list[gs.Tensor]
    ) -> list[gs.Tensor]:
        f, g, h = self.functions
        both = write.node("Add", [a, b], "sum")
        n = self.hidden  # ONNX's order: input, output, forget, cell
        gates, new = write.split(both, [3 * n, n], "gates")
        opened = write.node(f, [gates], "open")
        i, o, forget = write.split(opened, [n, n, n], "opened")
        kept = write.node("Mul", [forget, states[1]], "kept")
        added = write.node("Mul", [i, write.node(g, [new], "new")], "added")
        cell = write.node("Add", [kept, added], "cell")
        return [write.node("Mul", [o, write.node(h, [cell], "shown")], "state"), cell]

    def _gru(
        self, write: Writer, a: gs.Tensor, b: gs.Tensor, states: list[gs.Tensor]
    ) -> list[gs.Tensor]:
        n = self.hidden  # ONNX's order: update, reset, new
        a_gates, a_new = write.split(a, [2 * n, n], "input_parts")
        b_gates, b_new = write.split(b, [2 * n, n], "state_parts")
        update, reset = self._gates(write, a_gates, b_gates)
        return self._mixed(write, update, a_new, write.node("Mul", [reset, b_new], "reset"),
                           states[0])  # fmt: skip

    def _gru_reset_first(
        self, write: Writer, a: gs.Tensor, gates: Any, last: Any, state: gs.Tensor
    ) -> list[gs.Tensor]:
        a_gates, a_new = write.split(a, [2 * self.hidden, self.hidden], "input_parts")
        update, reset = self._gates(write, a_gates, gates(state))
        b_new = last(write.node("Mul", [reset, state], "reset"))
        return self._mixed(write, update, a_new, b_new, state)

    def _gates(self, write: Writer, a: gs.Tensor, b: gs.Tensor) -> list[gs.Variable]:
        opened = write.node(self.functions[0], [write.node("Add", [a, b], "sum")], "open")
        return write.split(opened, [self.hidden, self.hidden], "gates")

    def _mixed(
        self, write: Writer, update: gs.Tensor, a: gs.Tensor, b: gs.Tensor, state: gs.Tensor
    ) -> list[gs.Tensor]:
        """The next state: new + update · (state - new)."""
        new = write.node(self.functions[1], [write.node("Add", [a, b], "both")], "new")
        ahead = write.node("Sub", [state, new], "ahead")
        return [write.node("Add", [new, write.node("Mul", [update, ahead], "kept")], "state")]
