"""Transformers as exporters write them, with random weights: ``python transformer_graphs.py``.

An encoder as BERT is, a vision transformer, and a decoder with a cache as GPT and Llama are.
Weights are random but have what trained ones have: a few channels of the residual stream are far
larger than the others, through the weights of norms (Dettmers et al. 2022, "LLM.int8()"). They are
for what a quantizer makes of their graphs; what they compute means nothing.

LayerNorm, RMSNorm and Gelu are in primitives or single operators, attention in MatMuls or Einsums.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Shape = list[int | str]
WIDTH, HEADS, LAYERS, WORDS = 64, 4, 2, 96
OUTLIERS, FACTOR = 3, 20.0
"""How many channels are large, and how much larger."""


class Graph:
    """Nodes and weights in order; every method gives the name of what it writes.

    Args:
        seed: of the weights.
        primitives: whether functions are in primitive operators, as of older exporters.
    """

    def __init__(self, seed: int, primitives: bool) -> None:
        self.random = np.random.default_rng(seed)
        self.primitives = primitives
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: list[onnx.TensorProto] = []
        self._made: dict[tuple[str, bytes], str] = {}

    def weight(self, *shape: int, scale: float | None = None) -> str:
        size = scale or 1 / math.sqrt(shape[0])
        return self.tensor(self.random.normal(0, size, shape).astype(np.float32))

    def tensor(self, value: np.ndarray) -> str:
        key = str((value.dtype, value.shape)), value.tobytes()
        if key not in self._made:
            self._made[key] = f"t{len(self.tensors)}"
            self.tensors.append(numpy_helper.from_array(value, self._made[key]))
        return self._made[key]

    def number(self, value: float) -> str:
        return self.tensor(np.array(value, np.float32))

    def whole(self, *values: int) -> str:
        return self.tensor(np.array(values, np.int64))

    def node(self, op: str, *inputs: str, **attributes: Any) -> str:
        name = f"{op}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], name, **attributes))
        return name

    def linear(self, x: str, inner: int, outer: int) -> str:
        bias = self.tensor(self.random.normal(0, 0.1, outer).astype(np.float32))
        return self.node("Add", self.node("MatMul", x, self.weight(inner, outer)), bias)

    def gains(self) -> str:
        """Weights of a norm, a few of them large."""
        found = self.random.uniform(0.5, 1.5, WIDTH).astype(np.float32)
        found[self.random.choice(WIDTH, OUTLIERS, replace=False)] *= FACTOR
        return self.tensor(found)

    def layer_norm(self, x: str) -> str:
        gains = self.gains()
        shift = self.tensor(self.random.normal(0, 0.1, WIDTH).astype(np.float32))
        if not self.primitives:
            return self.node("LayerNormalization", x, gains, shift, axis=-1, epsilon=1e-5)
        off = self.node("Sub", x, self.node("ReduceMean", x, axes=[-1]))
        square = self.node("ReduceMean", self.node("Pow", off, self.number(2)), axes=[-1])
        size = self.node("Sqrt", self.node("Add", square, self.number(1e-5)))
        return self.node("Add", self.node("Mul", self.node("Div", off, size), gains), shift)

    def rms_norm(self, x: str) -> str:
        square = self.node("ReduceMean", self.node("Mul", x, x), axes=[-1])
        size = self.node("Sqrt", self.node("Add", square, self.number(1e-6)))
        return self.node("Mul", self.node("Div", x, size), self.gains())

    def gelu(self, x: str) -> str:
        half = self.node("Erf", self.node("Div", x, self.number(math.sqrt(2))))
        gate = self.node("Add", half, self.number(1))
        return self.node("Mul", self.node("Mul", x, gate), self.number(0.5))

    def heads(self, x: str) -> str:
        """[B, S, WIDTH] as [B, HEADS, S, WIDTH / HEADS]."""
        apart = self.node("Reshape", x, self.whole(0, 0, HEADS, WIDTH // HEADS))
        return self.node("Transpose", apart, perm=[0, 2, 1, 3])

    def attend(self, q: str, k: str, v: str, mask: str | None) -> str:
        """What heads of queries read, [B, S, WIDTH]; *mask* is added to their scores."""
        if self.primitives:
            scores = self.node("MatMul", q, self.node("Transpose", k, perm=[0, 1, 3, 2]))
        else:
            scores = self.node("Einsum", q, k, equation="bhqd,bhkd->bhqk")
        scores = self.node("Div", scores, self.number(math.sqrt(WIDTH / HEADS)))
        if mask is not None:
            scores = self.node("Add", scores, mask)
        found = self.node("MatMul", self.node("Softmax", scores, axis=-1), v)
        together = self.node("Transpose", found, perm=[0, 2, 1, 3])
        return self.node("Reshape", together, self.whole(0, 0, WIDTH))

    def block(self, x: str, mask: str | None, *, before: bool) -> str:
        """Attention and feed-forward with Gelu, norms *before* or behind them."""
        read = self.layer_norm(x) if before else x
        q, k, v = (self.heads(self.linear(read, WIDTH, WIDTH)) for _ in range(3))
        x = self.node("Add", x, self.linear(self.attend(q, k, v, mask), WIDTH, WIDTH))
        x = x if before else self.layer_norm(x)
        read = self.layer_norm(x) if before else x
        inner = self.gelu(self.linear(read, WIDTH, 4 * WIDTH))
        x = self.node("Add", x, self.linear(inner, 4 * WIDTH, WIDTH))
        return x if before else self.layer_norm(x)

    def size(self, x: str, axis: int) -> str:
        """Length of *axis* of *x*, [1]."""
        return self.node("Gather", self.node("Shape", x), self.whole(axis), axis=0)

    def model(
        self, inputs: dict[str, tuple[int, Shape]], outputs: dict[str, Shape]
    ) -> onnx.ModelProto:
        """The graph so far; *outputs* are float."""
        graph = helper.make_graph(
            self.nodes, "transformer",
            [helper.make_tensor_value_info(n, kind, shape) for n, (kind, shape) in inputs.items()],
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in outputs.items()],
            self.tensors,
        )  # fmt: skip
        found = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(found, full_check=True)
        return found


def encoder(primitives: bool = True) -> onnx.ModelProto:
    """``ids``, ``mask`` int64 [B, S] → ``hidden`` float32 [B, S, WIDTH]; masked scores are -inf."""
    g = Graph(0, primitives)
    places = g.node("Range", g.tensor(np.array(0)), g.node("Squeeze", g.size("ids", 1)),
                    g.tensor(np.array(1)))  # fmt: skip
    words = g.node("Gather", g.weight(WORDS, WIDTH, scale=1.0), "ids")
    x = g.node("Add", words, g.node("Gather", g.weight(128, WIDTH, scale=0.3), places))
    seen = g.node("Unsqueeze", g.node("Cast", "mask", to=TensorProto.BOOL), g.whole(1, 2))
    shape = g.node("Concat", g.size("ids", 0), g.whole(1), g.size("ids", 1), g.size("ids", 1),
                   axis=0)  # fmt: skip
    seen = g.node("Expand", seen, shape)
    mask = g.node("Where", seen, g.number(0), g.number(-np.inf))
    x = g.layer_norm(x)
    for _ in range(LAYERS):
        x = g.block(x, mask, before=False)
    g.node("Identity", x)
    g.nodes[-1].output[0] = "hidden"
    words_in: tuple[int, Shape] = (TensorProto.INT64, ["B", "S"])
    return g.model({"ids": words_in, "mask": words_in}, {"hidden": ["B", "S", WIDTH]})


def vision(primitives: bool = True) -> onnx.ModelProto:
    """``image`` float32 [B, 3, 32, 32] → ``logits`` float32 [B, 10]."""
    g = Graph(1, primitives)
    filters = g.weight(WIDTH, 3, 8, 8, scale=1 / math.sqrt(192))
    patches = g.node("Conv", "image", filters, kernel_shape=[8, 8], strides=[8, 8])
    flat = g.node("Reshape", patches, g.whole(0, WIDTH, -1))
    x = g.node("Transpose", flat, perm=[0, 2, 1])
    shape = g.node("Concat", g.size("image", 0), g.whole(1, WIDTH), axis=0)
    first = g.node("Expand", g.weight(1, 1, WIDTH, scale=0.5), shape)
    x = g.node("Concat", first, x, axis=1)
    x = g.node("Add", x, g.weight(1, 17, WIDTH, scale=0.3))
    for _ in range(LAYERS):
        x = g.block(x, None, before=True)
    x = g.node("Gather", g.layer_norm(x), g.tensor(np.array(0)), axis=1)
    logits = g.node("Gemm", x, g.weight(WIDTH, 10), g.weight(10, scale=0.1))
    g.nodes[-1].output[0] = "logits"
    assert logits == g.nodes[-1].name
    return g.model({"image": (TensorProto.FLOAT, ["B", 3, 32, 32])}, {"logits": ["B", 10]})


def decoder(primitives: bool = True) -> onnx.ModelProto:
    """``ids`` int64 [B, S] and a cache of P steps → ``logits`` float32 [B, S, WORDS] and the cache.

    The cache of layer i is ``past_key.i`` and ``past_value.i``, float32 [B, HEADS, P, size of a
    head]; ``present_key.i`` and ``present_value.i`` have P + S steps. Norms are RMSNorm, the
    feed-forward part is SwiGLU, and the embedding is also the output layer.
    """
    g = Graph(2, primitives)
    table = g.weight(WORDS, WIDTH, scale=1.0)
    x = g.node("Gather", table, "ids")
    old = g.size("past_key.0", 2)
    end = g.node("Add", old, g.size("ids", 1))
    steps = [g.node("Squeeze", t) for t in (old, end)]
    zero, one = g.tensor(np.array(0)), g.tensor(np.array(1))
    now = g.node("Unsqueeze", g.node("Range", *steps, one), g.whole(1))
    all_steps = g.node("Range", zero, steps[1], one)
    later = g.node("Greater", all_steps, now)
    mask = g.node("Where", later, g.number(float(np.finfo(np.float32).min)), g.number(0))
    x = g.node("Add", x, g.node("Gather", g.weight(128, WIDTH, scale=0.3), g.node("Squeeze", now,
               g.whole(1))))  # fmt: skip
    caches: dict[str, str] = {}
    for i in range(LAYERS):
        read = g.rms_norm(x)
        q, k, v = (g.heads(g.node("MatMul", read, g.weight(WIDTH, WIDTH))) for _ in range(3))
        k = g.node("Concat", f"past_key.{i}", k, axis=2)
        v = g.node("Concat", f"past_value.{i}", v, axis=2)
        caches |= {f"present_key.{i}": k, f"present_value.{i}": v}
        found = g.node("MatMul", g.attend(q, k, v, mask), g.weight(WIDTH, WIDTH))
        x = g.node("Add", x, found)
        read = g.rms_norm(x)
        gate, up = (g.node("MatMul", read, g.weight(WIDTH, 3 * WIDTH)) for _ in range(2))
        inner = g.node("Mul", g.node("Mul", gate, g.node("Sigmoid", gate)), up)
        x = g.node("Add", x, g.node("MatMul", inner, g.weight(3 * WIDTH, WIDTH)))
    g.node("MatMul", g.rms_norm(x), g.node("Transpose", table, perm=[1, 0]))
    g.nodes[-1].output[0] = "logits"
    renamed = {inner: name for name, inner in caches.items()}
    for node in g.nodes:
        for names in (node.input, node.output):
            names[:] = [renamed.get(n, n) for n in names]
    size: Shape = ["B", HEADS, "P", WIDTH // HEADS]
    kinds = [f"{kind}.{i}" for i in range(LAYERS) for kind in ("key", "value")]
    inputs: dict[str, tuple[int, Shape]] = {"ids": (TensorProto.INT64, ["B", "S"])}
    outputs: dict[str, Shape] = {"logits": ["B", "S", WORDS]}
    for kind in kinds:
        inputs[f"past_{kind}"] = (TensorProto.FLOAT, size)
        outputs[f"present_{kind}"] = ["B", HEADS, "T", WIDTH // HEADS]
    return g.model(inputs, outputs)


NETWORKS = {"encoder": encoder, "vision": vision, "decoder": decoder}


def main() -> None:
    """Write each of them in both forms beside this file."""
    for name, make in NETWORKS.items():
        for form in ("primitives", "operators"):
            path = Path(__file__).with_name(f"{name}_{form}.onnx")
            onnx.save(make(form == "primitives"), path)
            print(path)


if __name__ == "__main__":
    main()
