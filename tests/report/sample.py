"""A report with everything that the schema knows, of a network shaped like MobileNetV2."""

from __future__ import annotations

from typing import Any

import numpy as np

EVIL = """stem/<script>alert("1")</script>&'ä漢字'/Conv"""
"""A node name that a page has to escape."""


def sample(blocks: int = 16, seed: int = 7) -> dict[str, Any]:
    """The report; *blocks* inverted bottlenecks of three to four layers each."""
    rng = np.random.default_rng(seed)
    names, ops = [EVIL], ["Conv"]
    for i in range(blocks):
        stem = f"/features/features.{i + 1}/conv/"
        names += [
            f"{stem}conv.0/conv.0.0/Conv",
            f"{stem}conv.1/conv.1.0/Conv",
            f"{stem}conv.2/Conv",
        ]
        ops += ["Conv", "Conv", "Conv"]
        if i % 2:
            names.append(f"/features/features.{i + 1}/Add")
            ops.append("Add")
    names += ["/features/features.18/features.18.0/Conv", "/classifier/Gemm"]
    ops += ["Conv", "Gemm"]
    tensors: dict[str, Any] = {"input": _tensor(rng, 3, -2.1, 2.6)}
    layers = []
    for depth, (name, op) in enumerate(zip(names, ops, strict=True)):
        channels = int(8 * (1 + depth // 3))
        result = f"t{depth}"
        tensors[result] = _tensor(rng, channels, 0.0 if op == "Conv" else -4.0, 6.0)
        isolated = float(38 - 14 * rng.random() ** 2 - (17 if depth in (5, 12) else 0))
        cumulative = float(isolated - 4 - 14 * (depth / len(names)) ** 0.5)
        parts = rng.dirichlet((2, 1, 3))
        layers.append(
            {
                "node": name,
                "op_type": op,
                "precision": "uint8 × int8" if op != "Add" else "uint8",
                "kernel": None if depth == 9 else f"QLinear{op}" if op != "Gemm" else "QGemm",
                "macs": 0 if op == "Add" else int(rng.integers(200_000, 20_000_000)),
                "isolated_sqnr_db": isolated,
                "isolated_noise_to_signal": 10 ** (-isolated / 10),
                "cumulative_sqnr_db": cumulative,
                "noise_to_signal": 10 ** (-cumulative / 10),
                "cosine": 1 - 10 ** (-cumulative / 10) / 2,
                "share": dict(zip(("weights", "inputs", "output"), map(float, parts), strict=True)),
                "clipped": {"low": 0.0, "high": float(0.004 * rng.random() ** 3)},
                "reason": "planned as QLinearConv, absorbs Clip_1",
                "result": result,
                "inputs": ["input" if depth == 0 else f"t{depth - 1}"],
                "depth": depth,
                "before": [] if depth == 0 else [names[depth - 1]],
                "after": [*names[depth + 1 : depth + 2], *(["Softmax_0"] if depth > 40 else [])],
                "weights": None if op == "Add" else _weights(rng, channels, f"w{depth}"),
            }
        )
    layers.sort(key=lambda layer: layer["isolated_sqnr_db"])
    return {
        "schema": "onnxq-report/1",
        "model": "mobilenetv2.onnx",
        "target": "x86-vnni",
        "recipe": "balanced",
        "passes": "raise-opset,fuse-batchnorm,plan-kernels,choose-ranges{method=mse},insert-qdq",
        "arithmetic": "fake-quantized",
        "versions": {"onnxq": "0.1.0", "onnx": "1.23.2", "onnxruntime": "1.31.1"},
        "data": {
            "digest": "38ac3976fb691174cfbe046bb194be74547a295bd8aebce4a2927f4796709f54",
            "calibration_samples": 90,
            "report_samples": 10,
            "held_out": True,
        },
        "summary": {
            "outputs": [
                {
                    "name": "output",
                    "sqnr_db": 13.4,
                    "cosine": 0.9781,
                    "noise_to_signal": 0.0457,
                    "top1_agreement": 0.93,
                }
            ],
            "bytes_float": 13_970_214,
            "bytes_quantized": 3_846_670,
            "integer_macs_percent": 97.31,
            "integer_nodes_percent": 95.2,
        },
        "layers": layers,
        "kept_float": [
            {
                "node": "Softmax_0",
                "op_type": "Softmax",
                "reason": "x86-vnni has no integer Softmax",
            },
            {"node": "/head/decode_0", "op_type": "Mul", "reason": "score decoder <b>"},
            {"node": "/head/decode_1", "op_type": "Mul", "reason": "score decoder <b>"},
        ],
        "declines": [
            {
                "pass": "fuse-pad",
                "node": "Pad_3",
                "reason": "mode 'reflect' is not a convolution's",
            },
            {"pass": "fuse-batchnorm", "node": "BN_4", "reason": "its weight is shared with conv7"},
        ],
        "notes": ["target x86-vnni: this processor has VNNI"],
        "warnings": ["ranges are stretched by single samples: sample 47 ('t9')"],
        "recommendation": [
            {
                "node": layers[0]["node"],
                "action": "float",
                "predicted_sqnr_db": 17.2,
                "macs_percent": 1.9,
                "reason": "loses most alone",
            },
            {
                "node": layers[1]["node"],
                "action": "int16",
                "predicted_sqnr_db": 19.6,
                "macs_percent": 2.4,
                "reason": "next",
            },
        ],
        "tensors": tensors,
    }


def bare() -> dict[str, Any]:
    """A report as small as an outside tool may write it."""
    return {
        "schema": "onnxq-report/1",
        "model": "m.onnx",
        "summary": {"outputs": []},
        "layers": [{"node": "a", "op_type": "Conv"}, {"node": "b", "cumulative_sqnr_db": 12.0}],
    }


def _tensor(rng: np.random.Generator, channels: int, low: float, high: float) -> dict[str, Any]:
    values = np.clip(rng.standard_normal(4000) * (high - low) / 5 + (low + high) / 3, low, None)
    counts, edges = np.histogram(values, bins=64)
    top = float(np.quantile(values, 0.999))
    scale = (top - low) / 255
    noise = rng.standard_normal(channels) * scale / 6
    return {
        "dtype": "uint8",
        "scale": scale,
        "zero_point": round(-low / scale),
        "range": [low, top],
        "float": {
            "min": float(values.min()),
            "max": float(values.max()),
            "mean": float(values.mean()),
            "std": float(values.std()),
        },
        "histogram": {"edges": edges.tolist(), "counts": counts.tolist()},
        "noise": {
            "min": -scale,
            "max": 3 * scale,
            "mean": scale / 20,
            "std": scale / 3,
            "skew": 0.4,
            "kurtosis": 1.2,
        },
        "channel_noise_mean": noise.tolist(),
        "bias_potential_db": 0.35,
        "clipped": {"low": 0.0, "high": 0.001},
    }


def _weights(rng: np.random.Generator, channels: int, name: str) -> dict[str, Any]:
    reach = np.exp(rng.standard_normal(channels) * 0.7) * 0.3
    low = -reach * (0.5 + rng.random(channels) / 2)
    return {
        "name": name,
        "axis": 0,
        "scale": (np.maximum(reach, -low) / 127).tolist(),
        "low": low.tolist(),
        "high": reach.tolist(),
    }
