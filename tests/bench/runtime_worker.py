"""One model in one runtime, which answers through a pipe: ``runtimes.py`` starts it.

::

    python runtime_worker.py list                       # the runtimes of this environment, as JSON
    python runtime_worker.py RUNTIME MODEL THREADS      # pickled feeds in, pickled outputs out

It needs nothing but numpy and the runtime, so that it runs in an environment without onnxq: some
runtimes replace the package of another.
"""

from __future__ import annotations

import json
import os
import pickle
import sys
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

Feed = dict[str, np.ndarray]
Run = Callable[[Feed], Feed]
PROVIDER = "OpenVINOExecutionProvider"


def _session(model: Path, threads: int, providers: list[Any]) -> Run:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = threads
    options.log_severity_level = 4
    session = ort.InferenceSession(str(model), options, providers=providers)
    wanted = providers[0][0] if isinstance(providers[0], tuple) else providers[0]
    if session.get_providers()[0] != wanted:
        raise RuntimeError(f"{wanted} is not there, {session.get_providers()[0]} runs instead")
    names = [o.name for o in session.get_outputs()]
    return lambda feed: dict(zip(names, session.run(names, feed), strict=True))


def onnxruntime(model: Path, threads: int) -> Run:
    """ONNX Runtime's own CPU provider."""
    return _session(model, threads, ["CPUExecutionProvider"])


def provider(model: Path, threads: int) -> Run:
    """OpenVINO as an execution provider of ONNX Runtime, without its fallback."""
    options = {"device_type": "CPU", "num_of_threads": str(threads), "precision": "FP32"}
    return _session(model, threads, [(PROVIDER, options)])


def openvino(model: Path, threads: int) -> Run:
    """OpenVINO, which reads the file itself; what is float stays float32."""
    import openvino as ov

    core = ov.Core()
    options = {
        "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1",
        "INFERENCE_NUM_THREADS": threads,
    }  # fmt: skip
    compiled = core.compile_model(core.read_model(model), "CPU", options)
    request = compiled.create_infer_request()
    outputs = [(o.get_any_name(), o) for o in compiled.outputs]

    def run(feed: Feed) -> Feed:
        found = request.infer(feed)
        return {name: found[output] for name, output in outputs}

    return run


def reference(model: Path, threads: int) -> Run:
    """The reference evaluator of the onnx package; it has no Q and DQ of opsets below 19."""
    import onnx
    from onnx.reference import ReferenceEvaluator
    from onnx.version_converter import convert_version

    proto = onnx.load(model)
    if max(o.version for o in proto.opset_import if o.domain in ("", "ai.onnx")) < 19:
        proto = convert_version(proto, 19)
    session = ReferenceEvaluator(proto)
    return lambda feed: dict(zip(session.output_names, session.run(None, feed), strict=True))


RUNTIMES: dict[str, Callable[[Path, int], Run]] = {
    "onnxruntime": onnxruntime, "openvino": openvino, "onnxruntime-openvino": provider,
    "onnx reference": reference,
}  # fmt: skip


def installed() -> dict[str, str]:
    """The runtimes of this environment, and their versions."""
    found = {}
    if find_spec("onnxruntime"):
        import onnxruntime as ort

        other = PROVIDER in ort.get_available_providers()
        found["onnxruntime-openvino" if other else "onnxruntime"] = ort.__version__
    for name, package in (("openvino", "openvino"), ("onnx reference", "onnx")):
        if find_spec(package):
            try:
                found[name] = version(package)
            except PackageNotFoundError:  # beside the path, without its metadata
                found[name] = str(getattr(__import__(package), "__version__", "?")).split("-")[0]
    return found


def serve(runtime: str, model: Path, threads: int) -> None:
    """Answer each feed on standard input with outputs and seconds; ``str`` is an error."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not be taken for an answer

    def answer(value: object) -> None:
        pickle.dump(value, answers)
        answers.flush()

    try:
        run = RUNTIMES[runtime](model, threads)
    except Exception as error:  # whatever a runtime throws is what it says
        answer(f"{error}")
        return
    answer(None)
    while True:
        try:
            feed = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            start = time.perf_counter()
            found = run(feed)
            seconds = time.perf_counter() - start
        except Exception as error:
            answer(f"{error}")
            continue
        answer(({name: np.array(value) for name, value in found.items()}, seconds))


if __name__ == "__main__":
    if sys.argv[1] == "list":
        print(json.dumps(installed()))
    else:
        serve(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
