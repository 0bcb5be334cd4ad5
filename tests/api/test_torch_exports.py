"""What both of torch's exporters write, through every mode; torch is of the development extra."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
import onnx
import pytest

import onnxq

torch = pytest.importorskip(
    "torch", reason="torch is not installed: python -m pip install -e '.[dev]'"
)
WORDS, WIDTH, HEADS = 96, 64, 4


def attention(form: str) -> Any:
    """A block of a transformer: attention as a function, as Einsum, or in plain products."""

    class Block(torch.nn.Module):  # type: ignore[misc, name-defined, unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            nn = torch.nn
            self.words, self.norm = nn.Embedding(WORDS, WIDTH), nn.LayerNorm(WIDTH)
            self.three, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
            self.wide = nn.Sequential(
                nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH)
            )

        def forward(self, ids: Any, mask: Any) -> Any:
            x = self.words(ids)
            batch, steps, _ = x.shape
            q, k, v = (
                t.view(batch, steps, HEADS, -1) for t in self.three(self.norm(x)).chunk(3, -1)
            )
            seen = mask[:, None, None, :] > 0
            size = math.sqrt(WIDTH / HEADS)
            if form == "einsum":
                scores = torch.einsum("bqhd,bkhd->bhqk", q, k) / size
                weights = scores.masked_fill(~seen, float("-inf")).softmax(-1)
                y = torch.einsum("bhqk,bkhd->bqhd", weights, v)
            else:
                q, k, v = (t.transpose(1, 2) for t in (q, k, v))
                if form == "function":
                    wide = seen.expand(batch, 1, steps, steps)
                    y = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=wide)
                else:
                    scores = torch.where(seen, q @ k.transpose(-1, -2) / size, -float("inf"))
                    y = scores.softmax(-1) @ v
                y = y.transpose(1, 2)
            x = x + self.out(y.reshape(batch, steps, WIDTH))
            return x + self.wide(x)

    torch.manual_seed(0)
    return Block().eval()


def exported(module: Any, *, new: bool) -> onnx.ModelProto:
    """*module* as ONNX, its batch and its sequence free."""
    example = tuple(torch.ones(2, 10, dtype=torch.int64) for _ in range(2))
    names = {"input_names": ["ids", "mask"], "output_names": ["y"]}
    if new:
        pytest.importorskip("onnxscript", reason="the newer exporter needs the package onnxscript")
        free = {0: torch.export.Dim("batch", max=64), 1: torch.export.Dim("steps", min=2, max=64)}
        program = torch.onnx.export(
            module, example, dynamo=True, dynamic_shapes=(free, free), verbose=False, **names
        )
        proto: onnx.ModelProto = program.model_proto
        return proto
    file, free = io.BytesIO(), {0: "batch", 1: "steps"}
    torch.onnx.export(module, example, file, dynamo=False, opset_version=17,
                      dynamic_axes=dict.fromkeys(("ids", "mask", "y"), free), **names)  # fmt: skip
    return onnx.load_from_string(file.getvalue())


def samples(count: int, seed: int) -> list[dict[str, np.ndarray]]:
    random = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        steps = int(random.integers(6, 12))
        mask = np.ones((2, steps), np.int64)
        mask[1, steps - 2 :] = 0
        found.append({"ids": random.integers(0, WORDS, (2, steps)), "mask": mask})
    return found


@pytest.mark.parametrize("new", [False, True], ids=["older", "newer"])
@pytest.mark.parametrize("form", ["function", "einsum", "products"])
def test_attention(form: str, new: bool) -> None:
    model = exported(attention(form), new=new)
    for options in ({}, {"mode": "dynamic"}, {"mode": "weights", "weights": "int4", "block": 32}):
        result = onnxq.quantize(model, data=samples(24, 0), target="x86-vnni", **options)
        summary = result.report["summary"]
        assert summary["outputs"][0]["sqnr_db"] > (20 if "weights" in options else 33)
        if "weights" not in options:
            least = 90 if not options else 75  # scores of a head are float in mode dynamic
            assert summary["integer_macs_percent"] > least


def test_fake_quantization_with_batch_norms() -> None:
    ao = torch.ao.quantization
    per_tensor = ao.MovingAverageMinMaxObserver
    per_channel = ao.MovingAveragePerChannelMinMaxObserver

    def rounded(observer: Any, low: int, high: int, kind: Any, **options: Any) -> Any:
        return ao.FakeQuantize(observer, quant_min=low, quant_max=high, dtype=kind, **options)

    class Network(torch.nn.Module):  # type: ignore[misc, name-defined, unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 8, 3, padding=1, bias=False)
            self.norm = torch.nn.BatchNorm2d(8)
            self.last = torch.nn.Conv2d(8, 4, 1)
            signed = {"qscheme": torch.per_channel_symmetric, "ch_axis": 0}
            self.weights = torch.nn.ModuleList(
                rounded(per_channel, -128, 127, torch.qint8, **signed) for _ in range(2)
            )
            self.values = torch.nn.ModuleList(
                rounded(per_tensor, 0, 255, torch.quint8) for _ in range(3)
            )

        def forward(self, x: Any) -> Any:
            conv = torch.nn.functional.conv2d
            x = conv(self.values[0](x), self.weights[0](self.conv.weight), padding=1)
            x = self.values[1](torch.relu(self.norm(x)))
            return self.values[2](conv(x, self.weights[1](self.last.weight), self.last.bias))

    torch.manual_seed(0)
    module = Network().train()
    for _ in range(8):
        module(torch.randn(4, 3, 8, 8))
    module.eval().apply(ao.disable_observer)
    file = io.BytesIO()
    torch.onnx.export(
        module, (torch.randn(1, 3, 8, 8),), file, dynamo=False, opset_version=17,
        input_names=["x"], do_constant_folding=False, training=torch.onnx.TrainingMode.PRESERVE,
    )  # fmt: skip
    model = onnx.load_from_string(file.getvalue())
    assert "BatchNormalization" in {n.op_type for n in model.graph.node}
    result = onnxq.quantize(model, keep_scales=True, target="x86-vnni")
    assert result.report["summary"]["integer_macs_percent"] == 100
    assert result.report["summary"]["outputs"][0]["sqnr_db"] > 35
