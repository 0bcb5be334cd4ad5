"""Real networks from float to C: every output of 100 images equals the reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import onnxq
from onnxq.graph import Model
from onnxq.integer import encode, lower, run
from tests.integer.c_project import needs_cc, project, raw
from tests.zoo import model, needs_zoo, zoo

pytestmark = pytest.mark.slow


@needs_cc
@needs_zoo
@pytest.mark.parametrize("name", ["cifar_resnet20", "squeezenet1.1", "mobilenetv2"])
def test_c_equals_the_reference(name: str, tmp_path: Path) -> None:
    feeds = list(zoo().calibration(name, 100))
    path = tmp_path / "quantized.onnx"
    onnxq.quantize(model(name), data=feeds[:32], target="fpga-pow2", recipe="fast").save(path)
    program = lower(Model.load(path))
    project(program, tmp_path / "c", flags=("-O3",))
    equal = count = 0
    for start in range(0, 100, 10):
        codes = {
            v: np.concatenate([encode(program.values[v], f[n]) for f in feeds[start : start + 10]])
            for n, v in program.inputs.items()
        }
        expected = run(program, codes)
        for value, found in raw(tmp_path / "c", program, codes).items():
            equal += int(np.sum(found == expected[value]))
            count += found.size
    assert equal == count >= 1000
