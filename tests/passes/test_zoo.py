"""All rewriting passes, in order, on real networks: the outputs stay, the operators go."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest

from onnxq.graph import Model
from onnxq.pipeline import PassRecord
from onnxq.pipeline.registry import get
from tests.passes.golden import context, outputs
from tests.zoo import model as path_of
from tests.zoo import needs_zoo, zoo

CANONICAL = (
    "inline-functions", "raise-opset", "name-nodes", "constants-to-initializers",
    "widen-float16", "fold-constants", "remove-noops", "remove-unused",
)  # fmt: skip
FUSE = (
    "reducemean-to-gap", "fuse-activation-clip", "fuse-pad", "fuse-matmul-add", "fuse-batchnorm",
    "fuse-batchnorm-forward", "fuse-affine", "unshare-weights",
    "recognise-hardswish", "recognise-silu", "recognise-gelu", "recognise-layernorm",
)  # fmt: skip

# operators that must be gone, and how many of some are left
EXPECTED: dict[str, dict[str, int]] = {
    "cifar_resnet20": {"BatchNormalization": 0, "Conv": 19},
    "gtcrn_simple": {"BatchNormalization": 0, "ConvTranspose": 11},
    "mnist_cntk": {"Add": 0, "MatMul": 0, "Gemm": 1, "Reshape": 1},
    "mobilenetv2": {"Clip": 35},
    "names_transformer": {"MatMul": 25},
    "shakespeare_rnn": {"Constant": 0},
    "silero_vad": {"Conv": 12},
    "silero_vad_16k_op15": {"Conv": 6},
    "squeezenet1.1": {"Relu": 26},
    "supres_core": {"Constant": 0},
    "villes_transformer_d64h8": {"MatMul": 10},
    "yolox_nano": {"Conv": 113},
}


GROUPS = {
    "gtcrn_simple": {"layernorm": 4},
    "villes_transformer_d64h8": {"rmsnorm": 3, "silu": 1},
    "yolox_nano": {"silu": 104},
}


@needs_zoo
@pytest.mark.parametrize("name", EXPECTED)
def test_every_pass_in_turn(name: str) -> None:
    source = onnx.load(path_of(name))
    feed = next(iter(zoo().calibration(name, 1)))
    before = outputs(source, feed)
    model, ctx = Model.load(source), context()
    # what a pipeline measures before it fuses; ranks are all that matters here
    for pass_name in (*CANONICAL, *FUSE):
        if pass_name == FUSE[0]:
            shown = Model.load(onnx.shape_inference.infer_shapes(model.to_proto(), data_prop=True))
            model = shown
        ctx.journal.records.append(PassRecord(pass_name))
        get(pass_name)().run(model, ctx)
        after = model.to_proto()
        for a, b in zip(before, outputs(after, feed), strict=True):
            assert a.shape == b.shape, pass_name
            scale = np.abs(a).max(initial=0) or 1.0
            np.testing.assert_allclose(b, a, rtol=0, atol=2e-4 * scale, err_msg=pass_name)
    onnx.checker.check_model(after, full_check=True)
    assert model.opset >= 13
    assert {i.name for i in after.graph.input} == {*feed}
    names = [n.name for n in model.nodes()]
    assert len(set(names)) == len(names)
    assert all(names)
    found = Counter(n.op for n in model.nodes())
    assert {op: found[op] for op in EXPECTED[name]} == EXPECTED[name]
    assert Counter(g.kind for g in ctx.groups) == GROUPS.get(name, {})
    assert {n for g in ctx.groups for n in g.nodes} <= set(names)
    assert all(d.reason for d in ctx.journal.declines)
