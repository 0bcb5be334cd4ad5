from __future__ import annotations

from pathlib import Path

import pytest

from onnxq.errors import OptionError, UnknownNameError
from onnxq.passes.plan.exclude_nodes import ExcludeNodes
from onnxq.passes.plan.override_tensors import OverrideTensors
from onnxq.passes.plan.plan_kernels import PlanKernels
from onnxq.pipeline import Context
from onnxq.quant import Fixed, PerAxis, PerTensor, QuantSpec
from tests.passes.stages import run

TEXT = """g (float[1,3,4,4] x) => (float[1,3,4,4] y)
    <float[3,3,1,1] w, float[3,3,1,1] v>
    { [one] a = Conv (x, w)  [two] y = Conv (a, v) }"""


def override(folder: Path, text: str) -> Context:
    file = folder / "overrides.toml"
    file.write_text(text, "utf-8")
    return run(TEXT, [PlanKernels(), OverrideTensors(file=str(file))])[1]


def test_spec(tmp_path: Path) -> None:
    ctx = override(
        tmp_path,
        '["w"]\ngranularity = "tensor"\nsymmetric = true\n'
        '["[vw]"]\nnarrow_range = false\n["v"]\ndtype = "int8"\n'
        'granularity = "channel"\naxis = 0\n',
    )
    w, v = ctx.plan.tensors["w"], ctx.plan.tensors["v"]
    assert isinstance(w, QuantSpec) and isinstance(v, QuantSpec)
    assert w.granularity == PerTensor()
    assert w.symmetric
    assert v.granularity == PerAxis(0)
    assert not v.narrow_range and not w.narrow_range


def test_another_format_drops_the_limit_on_pairs(tmp_path: Path) -> None:
    changed = override(tmp_path, '[w]\ndtype = "uint8"\nsymmetric = false').plan.tensors["w"]
    assert isinstance(changed, QuantSpec)
    assert changed.pair_sum_limit is None


def test_range(tmp_path: Path) -> None:
    fixed = override(tmp_path, "[a]\nrange = [0.0, 6.375]\n").plan.tensors["a"]
    assert isinstance(fixed, Fixed)
    assert float(fixed.qparams.scale) == pytest.approx(0.025)
    assert int(fixed.qparams.zero_point) == 0


@pytest.mark.parametrize(
    ("text", "error", "part"),
    [
        ("[b]\nsymmetric = true", UnknownNameError, "unknown quantized tensor 'b'"),
        ("[a]\nsymetric = true", UnknownNameError, "symmetric"),
        ("[a]\nrange = [1.0]", OptionError, "two finite numbers"),
        ("[a]\nrange = [3.0, 1.0]", OptionError, "two finite numbers"),
        ('[a]\ngranularity = "row"', UnknownNameError, "channel"),
        ('[a]\ndtype = "int9000"', OptionError, "int9000"),
        ("a = 1", OptionError, "no table"),
        ("[a", OptionError, "not TOML"),
    ],
)
def test_refusals(tmp_path: Path, text: str, error: type[Exception], part: str) -> None:
    with pytest.raises(error, match=part):
        override(tmp_path, text)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="cannot be read"):
        run(TEXT, [PlanKernels(), OverrideTensors(file=str(tmp_path / "none.toml"))])


def test_a_tensor_that_exclusion_left_in_float_is_no_error(tmp_path: Path) -> None:
    file = tmp_path / "overrides.toml"
    file.write_text('["w"]\nsymmetric = true\n', "utf-8")
    passes = [ExcludeNodes(patterns=("one",)), PlanKernels(), OverrideTensors(file=str(file))]
    _, ctx = run(TEXT, passes)
    assert any("'w' has no effect" in warning for warning in ctx.journal.warnings)
    file.write_text('["nowhere"]\nsymmetric = true\n', "utf-8")
    with pytest.raises(UnknownNameError):
        run(TEXT, passes)
