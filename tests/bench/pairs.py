"""Which two products a kernel without VNNI adds in 16 bits, found by letting them saturate.

::

    python tests/bench/pairs.py                              # this processor
    qemu-x86_64 -cpu Haswell python tests/bench/pairs.py     # an emulated one without VNNI

Each output channel holds two weights of 127 and zeros; inputs are 255. Where the kernel adds the
two products in 16 bits, the sum of 64,770 saturates at 32,767. ``onnxq.pipeline.kernel_plan``
relies on what this prints: neighbours along (h, w, C), or along K; none of a depthwise kernel.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

STEP = 512.0


def session(
    op: str, weights: np.ndarray, shape: list[int], **attributes: object
) -> ort.InferenceSession:
    """One quantized operator with *weights*, scales 1 and an output step of 512."""
    channels = weights.shape[0 if op == "QLinearConv" else 1]
    values = {
        "xs": np.float32(1), "xz": np.uint8(0), "w": weights, "ws": np.ones(channels, np.float32),
        "wz": np.zeros(channels, np.int8), "ys": np.float32(STEP), "yz": np.uint8(0),
    }  # fmt: skip
    node = helper.make_node(op, ["x", *values], ["y"], **attributes)
    graph = helper.make_graph(
        [node], "pairs",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, None)],
        [numpy_helper.from_array(np.asarray(v), n) for n, v in values.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def saturating(
    op: str, k: int, shape: list[int], kernel: int = 1, group: int = 1
) -> list[tuple[int, int]]:
    """The pairs among *k* weights of a channel whose products are added in 16 bits."""
    pairs = list(combinations(range(k), 2))
    rows = np.zeros((len(pairs), k), np.int8)
    for row, pair in zip(rows, pairs, strict=True):
        row[list(pair)] = 127
    if op == "QLinearConv":
        rows = np.tile(rows, (1 if k == kernel * kernel else group, 1))
        weights = rows.reshape(len(rows), -1, kernel, kernel)
        depthwise = (
            {"group": len(rows)} if k == kernel * kernel and kernel > 1 else {"group": group}
        )
        if depthwise["group"] == len(rows):
            shape = [1, len(rows), *shape[2:]]
        run = session(op, weights, shape, kernel_shape=[kernel, kernel], **depthwise)
    else:
        run = session(op, np.ascontiguousarray(rows.T), shape)
    found = run.run(None, {"x": np.full(shape, 255, np.uint8)})[0].astype(int)
    sums = found[0].reshape(len(rows), -1)[:, 0]
    whole = round(255 * 127 * 2 / STEP)
    return [p for p, s in zip(pairs, sums, strict=False) if abs(s - whole) > 1]


def main() -> None:
    """Print the pairs of small kernels; positions of a Conv's weight count as (C, h, w)."""
    cases = {
        "Conv 8 channels, 3x3": saturating("QLinearConv", 72, [1, 8, 4, 4], 3),
        "Conv 3 channels, 3x3": saturating("QLinearConv", 27, [1, 3, 4, 4], 3),
        "Conv 16 channels, 1x1": saturating("QLinearConv", 16, [1, 16, 2, 2]),
        "Conv 16 channels, 3x3, 4 groups": saturating("QLinearConv", 36, [1, 16, 4, 4], 3, 4),
        "depthwise Conv 3x3": saturating("QLinearConv", 9, [1, 36, 4, 4], 3),
        "MatMul, K = 21": saturating("QLinearMatMul", 21, [2, 21]),
    }
    for name, pairs in cases.items():
        few = ", ".join(map(str, pairs[:6])) + (" …" if len(pairs) > 6 else "")
        print(f"{name}: {len(pairs)} pairs saturate{': ' + few if pairs else ''}")


if __name__ == "__main__":
    main()
