"""What counts as the same function: errors, tolerances, and the model's own rounding."""

from __future__ import annotations

import numpy as np
import pytest

from onnxq.errors import PassError
from onnxq.pipeline import Context, PassManager
from onnxq.pipeline.equivalence import error_of, worst
from tests.pipeline.support import TARGET, add_identity, chain, make


def test_the_foot_of_a_sigmoid_is_rounding() -> None:
    one, other = np.float32([3e-8, 0.0, 2e-8]), np.float32([0.0, 3e-8, 0.0])
    assert error_of(one, other) == pytest.approx(1.0)
    assert worst({"y": one}, {"y": other}, 1e-5) == ("", 0.0)
    assert worst({"y": 1e3 * one}, {"y": 1e3 * other}, 1e-5)[0] == "y"


def test_a_model_that_magnifies_rounding_is_measured_by_its_own() -> None:
    before, rounded = {"y": np.float32([1.0])}, {"y": np.float32([1.01])}
    near, far = {"y": np.float32([0.98])}, {"y": np.float32([0.5])}
    assert worst(before, near, 1e-5)[0] == "y"
    assert worst(before, near, 1e-5, rounded) == ("", 0.0)
    assert worst(before, far, 1e-5, rounded)[0] == "y"


@pytest.mark.parametrize(("own", "fails"), [(0.0, True), (1e-3, False)])
def test_passes_are_held_to_it(own: float, fails: bool) -> None:
    def compare(model, optimize=True):
        changed = 2e-3 if len(model.graph.nodes) > 3 else 0.0
        return {"y": np.float32([1.0 + changed + (0.0 if optimize else own)])}

    manager = PassManager([make("add", add_identity)], compare=compare)
    if fails:
        with pytest.raises(PassError, match="add: changed the function"):
            manager.run(chain(), Context(target=TARGET))
    else:
        manager.run(chain(), Context(target=TARGET))
