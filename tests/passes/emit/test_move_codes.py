from __future__ import annotations

import numpy as np

from onnxq.graph import Model
from onnxq.runtime.session import Session
from tests.passes.stages import run

RECIPE = "plan-kernels,choose-ranges,quantize-weights,quantize-biases,insert-qdq"


def text(pad: str, behind: str = "b") -> str:
    return f"""g (float[1,3,4,4] x) => (float[1,4,A,B] y) <float[4,3,1,1] w, float[4,4,1,1] v,
        int64[8] p = {{0,0,1,0,0,0,0,1}}, float c = {{2.0}}>
        {{ [head] a = Conv (x, w)  [pad] b = Pad{pad}
           [same] c0 = Identity ({behind})  [tail] y = Conv (c0, v) }}"""


def outputs(model: Model) -> np.ndarray:
    x = np.random.default_rng(3).standard_normal((1, 3, 4, 4)).astype(np.float32)
    return np.asarray(next(iter(Session(model).run({"x": x}).values())))


def test_pads_codes_with_the_zero_point() -> None:
    for mode in ("(a, p)", '<mode="reflect">(a, p)'):
        before, _ = run(text(mode), f"remove-noops,{RECIPE}", target="x86")
        after, _ = run(text(mode), f"remove-noops,{RECIPE},move-codes", target="x86")
        (pad,) = (n for n in after.nodes() if n.op == "Pad")
        (above, below) = pad.inputs[0].inputs[0], pad.outputs[0].outputs[0]
        assert (above.op, below.op) == ("QuantizeLinear", "DequantizeLinear")
        assert len(list(before.nodes())) == len(list(after.nodes())) + 2
        np.testing.assert_array_equal(outputs(before), outputs(after))


def test_declines() -> None:
    for given, target in (("(a, p, c)", "x86"), ("(a, p)", "openvino")):
        model, _ = run(text(given), f"remove-noops,{RECIPE},move-codes", target=target)
        (pad,) = (n for n in model.nodes() if n.op == "Pad")
        assert pad.inputs[0].inputs[0].op != "QuantizeLinear"


def test_codes_of_16_bits_are_padded_in_float() -> None:
    recipe = RECIPE.replace("plan-kernels", "plan-kernels{activations=uint16}")
    model, _ = run(text("(a, p)"), f"remove-noops,{recipe},move-codes", target="x86")
    (pad,) = (n for n in model.nodes() if n.op == "Pad")
    assert pad.inputs[0].inputs[0].op == "DequantizeLinear", "the runtime has no Pad for them"
