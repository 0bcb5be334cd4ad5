"""A network with a float stretch between integer layers whose channels differ a hundred times."""

from __future__ import annotations

import numpy as np

C = 8
RNG = np.random.default_rng(7)
TEXT = """g (float[1,8,16,16] x) => (float[1,8,16,16] y)
    <float[8,8,1,1] w, float[8] b, float[8,1,3,3] d, float[8,8,1,1] v, float[8,8,1,1] u>
    { [first] a = Conv (x, w, b)  [float1] h = Tanh (a)  [float2] r = Add (a, h)
      [dw] c = Conv <group = 8, pads = [1,1,1,1]> (r, d)
      [next] e = Conv (c, v)  [float3] f = Tanh (e)  [last] y = Conv (f, u) }"""
UNEVEN = np.geomspace(0.02, 2, C)
WEIGHTS = {
    "w": np.asarray(RNG.normal(size=(C, C, 1, 1)) * UNEVEN[:, None, None, None], np.float32),
    "b": np.asarray(RNG.normal(size=C) * UNEVEN, np.float32),
    # what is narrow is multiplied by much: all channels count
    "d": np.asarray(RNG.normal(size=(C, 1, 3, 3)) / UNEVEN[:, None, None, None], np.float32),
    "v": np.asarray(RNG.normal(size=(C, C, 1, 1)), np.float32),
}
DATA = [{"x": RNG.normal(size=(1, C, 16, 16)).astype(np.float32)} for _ in range(16)]
PLAN = 'name-nodes,measure-shapes,exclude-nodes{patterns=["dw"]},plan-kernels'
QUANTIZE = "choose-ranges,quantize-weights,quantize-biases,insert-qdq"
EMIT = f"{QUANTIZE},hold-gates"


def noise(given: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> float:
    """Noise to signal of the output y."""
    return float(np.square(given["y"] - wanted["y"]).mean() / np.square(wanted["y"]).mean())
