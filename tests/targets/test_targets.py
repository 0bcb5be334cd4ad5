from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from onnxq.errors import UnknownNameError
from onnxq.quant import PerAxis
from onnxq.targets import TARGETS, Role, Target, cpu, detect, get_target


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_tables_agree_with_the_operators(target: Target) -> None:
    for op, rule in target.rules.items():
        schema = onnx.defs.get_schema(op, target.max_opset)
        indices = [*(rule.activations or ()), rule.weight, rule.bias]
        used = [i for i in indices if i is not None]
        assert len(set(used)) == len(used), op
        if schema.inputs[-1].option != onnx.defs.OpSchema.FormalParameterOption.Variadic:
            assert all(i < len(schema.inputs) for i in used), op
        assert rule.kernel
        if rule.role is Role.MOVE:
            assert rule.weight is None and rule.bias is None and not rule.absorbs
        if rule.weight is not None:
            assert rule.role is Role.COMPUTE
        for activation in rule.absorbs:
            assert onnx.defs.has(activation)


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_weights_and_opsets(target: Target) -> None:
    assert target.summary
    assert target.opset <= target.max_opset <= onnx.defs.onnx_opset_version()
    assert target.weights.symmetric
    if isinstance(target.weights.granularity, PerAxis):
        assert target.opset >= 13, "scales per channel need opset 13"


def test_what_each_promises() -> None:
    assert get_target("x86").weights.pair_sum_limit == 128
    assert get_target("x86-avx2").weights.pair_sum_limit == 128
    assert get_target("x86-vnni").weights.pair_sum_limit is None
    assert get_target("tensorrt").activations.symmetric
    assert not get_target("tensorrt").quantized_bias
    assert get_target("arm").activations.dtype.signed
    assert not get_target("x86").activations.dtype.signed


def test_names() -> None:
    target = get_target("x86")
    assert get_target(target) is target
    assert get_target("auto").name == detect()[0]
    with pytest.raises(UnknownNameError, match="x86-vnni"):
        get_target("x86-vni")
    with pytest.raises(UnknownNameError, match="unknown target 'gpu'"):
        get_target("gpu")


@pytest.mark.parametrize(
    ("machine", "flags", "expected"),
    [
        ("x86_64", "fpu avx2 avx512_vnni", "x86-vnni"),
        ("AMD64", "fpu avx_vnni", "x86-vnni"),
        ("x86_64", "fpu avx2 avx512f", "x86-avx2"),
        ("aarch64", "", "arm"),
        ("arm64", "", "arm"),
        ("riscv64", "", "generic"),
        ("x86_64", None, "x86"),
    ],
)
def test_detection(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    machine: str,
    flags: str | None,
    expected: str,
) -> None:
    info = tmp_path / "cpuinfo"
    if flags is not None:
        info.write_text(f"processor : 0\nflags : {flags}\n", "utf-8")
    monkeypatch.setattr(cpu.platform, "machine", lambda: machine)
    monkeypatch.setattr(cpu, "_INFO", info)
    name, why = detect()
    assert name == expected
    assert why
