from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

from onnxq.report import units
from onnxq.report.terminal import render

LAYER = "/features/features.{}/conv/conv.0/conv.0.0/Conv"


def report() -> dict[str, Any]:
    return {
        "schema": "onnxq-report/1",
        "model": "mobilenetv2.onnx",
        "target": "x86-avx2",
        "recipe": "balanced",
        "data": {"report_samples": 13, "held_out": True},
        "summary": {
            "outputs": [
                {"name": "logits", "sqnr_db": 15.31, "cosine": 0.98412, "top1_agreement": 0.9384}
            ],
            "bytes_float": 13_964_571,
            "bytes_quantized": 3_655_033,
            "integer_macs_percent": 99.96,
            "integer_nodes_percent": 93.0,
        },
        "layers": [
            {
                "node": LAYER.format(i),
                "op_type": "Conv",
                "precision": "uint8 int8",
                "kernel": None if i == 3 else "QLinearConv",
                "isolated_sqnr_db": 50.0 - 2.5 * i,
                "cumulative_sqnr_db": 40.0 - 2.0 * i,
                "share": {"weights": 0.1, "inputs": 0.2, "output": 0.7},
            }
            for i in range(17)
        ],
        "kept_float": [
            {"node": f"/head/decode_{i}", "op_type": "Mul", "reason": "score decoder"}
            for i in range(5)
        ]
        + [{"node": "Softmax_1", "op_type": "Softmax", "reason": "nothing to gain"}],
        "declines": [{"pass": "fuse-pad", "node": "p", "reason": "reflect"}] * 3,
        "warnings": ["sample 17 alone stretches ranges [bold]"],
        "recommendation": ["keep 'a' in float"],
    }


def text_of(value: dict[str, Any], width: int = 120, **options: Any) -> str:
    console = Console(width=width, force_terminal=False, record=True, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    render(value, console, **options)
    return console.export_text()


def test_all_parts_are_shown() -> None:
    text = text_of(report(), files={"model": "out.onnx"})
    for part in (
        "mobilenetv2.onnx · x86-avx2 · balanced",
        "15.3 dB SQNR  cosine 0.98412  top-1 agrees 93.8 %",
        "on 13 samples, held out",
        "14.0 MB → 3.66 MB  26.2 % of float",
        "99.9 % of multiply-accumulates, 93 % of nodes",
        "each alone",
        "output 70 %",
        "… and 5 better ones",
        "Kept in float  6 nodes",
        "5  score decoder",
        "/head/decode_0 (Mul), /head/decode_1 (Mul), /head/decode_2 (Mul) …",
        "fuse-pad 3",
        "→ keep 'a' in float",
        "warning sample 17 alone stretches ranges [bold]",
        "out.onnx",
    ):
        assert part in text, part


def test_worst_layers_come_first_with_bars_that_grow() -> None:
    lines = [line for line in text_of(report()).splitlines() if "conv.0.0/Conv" in line]
    assert len(lines) == 12
    assert "features.16/" in lines[0]
    lengths = [sum(c in "█▏▎▍▌▋▊▉" for c in line) for line in lines]
    assert lengths == sorted(lengths)
    assert 0 < lengths[0] < lengths[-1]


@pytest.mark.parametrize("width", [60, 80, 100, 140, 200])
def test_every_width_is_kept(width: int) -> None:
    text = text_of(report(), width)
    assert max(map(len, text.splitlines())) <= width
    # the number is what the table is for: it is never cut
    assert "10.0" in text


def test_cumulative_only_and_hardly_anything() -> None:
    value = report()
    for layer in value["layers"]:
        layer["isolated_sqnr_db"] = None
        layer["share"] = None
    assert "up to here" in text_of(value)
    bare = text_of({"schema": "onnxq-report/1", "model": "m", "summary": {"outputs": []}})
    assert "not measured" in bare
    value["layers"] = [{"node": "a", "op_type": "Conv", "isolated_sqnr_db": None}]
    assert "no layer was measured" in text_of(value)


@pytest.mark.parametrize(
    ("function", "value", "expected"),
    [
        (units.bytes_text, 12, "12 B"),
        (units.bytes_text, 13_964_571, "14.0 MB"),
        (units.bytes_text, 2_500_000_000, "2.50 GB"),
        (units.count_text, 314_100_000, "314 M"),
        (units.percent, 100, "100 %"),
        (units.percent, 99.96, "99.9 %"),
        (units.percent, 26.18, "26.2 %"),
        (units.db_text, float("inf"), "exact"),
        (units.db_text, None, "–"),
        (units.tone, 9.9, "red"),
        (units.tone, 10.0, "yellow"),
        (units.tone, 20.0, "green"),
    ],
)
def test_units(function, value, expected) -> None:
    assert function(value) == expected


def test_short_names() -> None:
    name = LAYER.format(3)
    assert units.short_name(name, 100) == name
    assert units.short_name(name, 32) == "…features.3/…/…conv.0.0/Conv"
    assert len(units.short_name(name, 12)) == 12
    assert units.bar(0.0, 10) == "▏"
    assert units.bar(1e9, 10) == "█" * 10


def test_one_reason_is_one_line_whatever_the_operators() -> None:
    value = report()
    value["kept_float"] = [
        {"node": f"n{op}", "op_type": op, "reason": f"no integer kernel for {op} on x86"}
        for op in ("Softmax", "Exp", "Erf")
    ]
    assert "3  no integer kernel on x86" in text_of(value)
