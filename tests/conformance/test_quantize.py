"""The models that the onnx package makes for backends, each through ``quantize``.

Either a result comes out that is valid, runs, and has outputs of the same types and shapes, or one
of onnxq's own errors about the model (exit code 3) or the data (2). A sample of them by default,
all with ``ONNXQ_SLOW=1`` (some minutes).
"""

from __future__ import annotations

import os
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper
from onnx.backend.test.loader import load_model_tests

import onnxq
from onnxq.errors import OnnxqError

KINDS = ("node", "simple", "pytorch-converted", "pytorch-operator")
PARTS = 24
DEFAULT = 5
"""The part that runs by default; all models of a part run in one test."""

KNOWN: dict[str, str] = {
    "test_affine_grid_2d_align_corners_expanded": "valid only as long as its shapes are unknown",
    "test_affine_grid_2d_expanded": "valid only as long as its shapes are unknown",
    "test_affine_grid_3d_align_corners_expanded": "valid only as long as its shapes are unknown",
    "test_affine_grid_3d_expanded": "valid only as long as its shapes are unknown",
}
"""Models with a flaw of their own that surfaces once constants are folded."""

Feed = dict[str, NDArray[Any]]


@cache
def cases() -> list[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return [c for kind in KINDS for c in load_model_tests(kind=kind)]


def load(case: Any) -> tuple[onnx.ModelProto | None, Feed | None]:
    """The model of *case* and its inputs; None where it has none, or inputs that are no tensors."""
    if case.model_dir is None:
        if case.model is None:
            return None, None
        given = list(case.data_sets[0][0])
        proto = case.model
    else:
        path = Path(case.model_dir) / "model.onnx"
        if not path.exists():
            return None, None
        proto, given = onnx.load(path), []
        for index, value in enumerate(proto.graph.input):
            file = path.parent / "test_data_set_0" / f"input_{index}.pb"
            if not value.type.HasField("tensor_type") or not file.exists():
                return proto, None
            tensor = onnx.TensorProto()
            tensor.ParseFromString(file.read_bytes())
            given.append(numpy_helper.to_array(tensor))
    if not all(isinstance(x, np.ndarray) for x in given):
        return proto, None
    return proto, dict(zip((i.name for i in proto.graph.input), given, strict=False))


def run(proto: onnx.ModelProto, feed: Feed) -> list[Any]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = {i.name for i in session.get_inputs()}
    return list(session.run(None, {k: v for k, v in feed.items() if k in names}))


def problem(case: Any, *, random: bool) -> str | None:
    """What is wrong with the result of *case*; None where nothing is, or it cannot run."""
    proto, feed = load(case)
    if proto is None or feed is None:
        return None
    if random and {n.op_type for n in proto.graph.node} & {"Div", "Mod", "STFT"}:
        return None  # random integers hold 0, and the runtime's division by it ends the process
    try:
        reference = run(proto, feed)
        onnx.checker.check_model(proto)
    except Exception:
        return None
    before = proto.SerializeToString(deterministic=True)
    data = None if random else [feed]
    try:
        result = onnxq.quantize(
            proto, data=data, random_data=random, target="x86", recipe="fast"
        ).model.to_proto()
    except OnnxqError as error:
        known = error.exit_code in (2, 3) or case.name in KNOWN
        return None if known else f"{type(error).__name__}: {error}"
    except Exception as error:
        return f"crashed with {type(error).__name__}: {error}"
    if proto.SerializeToString(deterministic=True) != before:
        return "the source was written into"
    try:
        onnx.checker.check_model(result)
        found = run(result, feed)
    except Exception as error:
        return f"the result does not run: {error}"
    for a, b in zip(reference, found, strict=True):
        if type(a) is not type(b):
            return f"an output is {type(b)}, not {type(a)}"
        if isinstance(a, np.ndarray) and (a.shape, a.dtype) != (b.shape, b.dtype):
            return f"an output is {b.dtype}{b.shape}, not {a.dtype}{a.shape}"
    return None


@pytest.mark.parametrize("random", [False, True], ids=["data", "random"])
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.slow
def test_models_of_the_onnx_package(part: int, random: bool) -> None:
    if part != DEFAULT and not os.environ.get("ONNXQ_SLOW"):
        pytest.skip("all models take minutes: set ONNXQ_SLOW=1")
    onnxruntime.set_default_logger_severity(4)
    chosen = cases()[part::PARTS]
    assert len(chosen) > 20
    found = {c.name: p for c in chosen if (p := problem(c, random=random)) is not None}
    assert not found, "\n".join(f"{name}: {p}" for name, p in found.items())
