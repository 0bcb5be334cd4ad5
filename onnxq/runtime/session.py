"""An ONNX Runtime session: the only way in which onnxq runs a model."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from time import perf_counter
from typing import Any, TypeAlias

import ml_dtypes
import numpy as np
import onnx
import onnxruntime as ort
from google.protobuf.message import EncodeError  # type: ignore[import-untyped,unused-ignore]
from numpy.typing import NDArray

from onnxq.errors import DataError, ModelFileError, UnsupportedModelError
from onnxq.graph import Model
from onnxq.graph.bodies import subgraphs
from onnxq.graph.header import DEFAULT
from onnxq.runtime.providers import Provider, resolve

Feed = Mapping[str, NDArray[Any]]
Source: TypeAlias = Model | onnx.ModelProto | bytes | str | PathLike[str]

_FLOAT8 = (onnx.TensorProto.FLOAT8E4M3FN, onnx.TensorProto.FLOAT8E5M2)
#: Since then ONNX has them.
_FLOAT8_OPSET = 19
#: Protobuf cannot serialize more; a larger model goes to ONNX Runtime as a file.
LARGEST_MESSAGE = (1 << 31) - (1 << 26)
#: What a brief session leaves out.
_SLOW = (
    "CommonSubexpressionElimination", "ConstantSharing", "NhwcTransformer", "TransposeOptimizer",
)  # fmt: skip

_TYPES: dict[str, Any] = {
    "float": np.float32, "double": np.float64, "float16": np.float16,
    "bfloat16": ml_dtypes.bfloat16, "int4": ml_dtypes.int4, "uint4": ml_dtypes.uint4,
    "string": np.object_, "bool": np.bool_,
    **{f"{u}int{b}": getattr(np, f"{u}int{b}") for u in ("", "u") for b in (8, 16, 32, 64)},
}  # fmt: skip


@dataclass(frozen=True)
class InputInfo:
    """An input or output of a model.

    Attributes:
        name: its name.
        dtype: numpy dtype; None where it is no tensor, or of a type that numpy lacks.
        shape: its dimensions, a name or None for a free one; None where the rank is not known.
        mask: whether it only masks, so that minus infinity is one of its values.
    """

    name: str
    dtype: np.dtype[Any] | None
    shape: tuple[int | str | None, ...] | None
    mask: bool = False


class Session:
    """A model ready to run.

    Args:
        model: a model under edit, a message, its bytes, or the path of a file.
        providers: execution providers in order, by name or with options; the CPU where none is.
        threads: threads within an operator; None leaves it to ONNX Runtime.
        optimize: whether graphs are fused as at deployment.
        optimized_path: where ONNX Runtime writes the graph that it really runs.
        spin: whether its threads wait busily for the next operator. It is faster when nothing
            else runs, as when latency is measured; it takes the CPU from numpy's work in between.
        qdq: whether QuantizeLinear, operator, DequantizeLinear become integer kernels. Where not,
            each node computes what ONNX says: exact integers, no saturation. So it is anyway where
            a model or message quantizes to float8: fusions make invalid nodes of that, and take
            a Relu in front of it away, as if codes had no sign (seen in 1.31).
        plan_memory: whether places of tensors are planned ahead, which takes time that grows with
            the square of the number of nodes, and holds the memory between runs.
        brief: whether it is for a few runs. Then weights are not laid out as their kernels read
            them, which takes a copy of each, and optimizers that take longer on a large graph than
            they save are left out.
        int8: whether kernels for int8 activations are there, as on Arm; where not, they become
            uint8, as on x86. None: as on this machine.
        profile: where ONNX Runtime writes what each node took: the beginning of a path.

    Raises:
        UnsupportedModelError: ONNX Runtime refuses the model; its message is quoted.
        ModelFileError: there is no such file.
    """

    def __init__(
        self,
        model: Source,
        providers: Sequence[Provider | str] = (),
        threads: int | None = None,
        optimize: bool = True,
        optimized_path: str | PathLike[str] | None = None,
        spin: bool = False,
        qdq: bool = True,
        plan_memory: bool = True,
        brief: bool = False,
        int8: bool | None = None,
        profile: str | PathLike[str] | None = None,
    ) -> None:
        options = ort.SessionOptions()
        options.log_severity_level = 3  # errors; warnings are about ONNX Runtime's own matters
        options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spin)))
        options.enable_mem_reuse = options.enable_mem_pattern = plan_memory
        options.add_session_config_entry("session.disable_prepacking", str(int(brief)))
        basic = _holds_float8(model)
        qdq = qdq and not basic
        options.add_session_config_entry("session.disable_quant_qdq", str(int(not qdq)))
        if spin:  # but not between runs, when another session may be at work
            options.add_session_config_entry("session.force_spinning_stop", "1")
        if profile is not None:
            options.enable_profiling = True
            options.profile_file_prefix = str(profile)
        if int8 is not None:
            options.add_session_config_entry("session.qdqisint8allowed", str(int(int8)))
        if threads is not None:
            options.intra_op_num_threads = threads
        level = ort.GraphOptimizationLevel
        most = level.ORT_ENABLE_BASIC if basic else level.ORT_ENABLE_ALL
        options.graph_optimization_level = most if optimize else level.ORT_DISABLE_ALL
        if optimized_path is not None:
            options.optimized_model_filepath = str(optimized_path)
        self._quiet = ort.RunOptions()
        self._quiet.log_severity_level = 4  # a failure is raised, with its message
        with contextlib.ExitStack() as files:
            source = _source(model, files)
            try:
                self._session = ort.InferenceSession(
                    source,
                    options,
                    providers=list(resolve(providers)),
                    disabled_optimizers=_SLOW if brief else None,
                )
            except Exception as error:  # ONNX Runtime's exceptions share no base class
                raise UnsupportedModelError(
                    "ONNX Runtime cannot load the model", why=_message(error)
                ) from error

    @property
    def inputs(self) -> list[InputInfo]:
        """Inputs that must be fed, in order (initializers that are also inputs need not be)."""
        return [_info(i) for i in self._session.get_inputs()]

    @property
    def outputs(self) -> list[InputInfo]:
        """Outputs, in order; shapes as inferred."""
        return [_info(o) for o in self._session.get_outputs()]

    @property
    def providers(self) -> list[str]:
        """Names of the providers in use."""
        return list(self._session.get_providers())

    def run(self, feed: Feed, names: Sequence[str] | None = None) -> dict[str, NDArray[Any]]:
        """Outputs *names* (all where None) for *feed*, by name.

        Raises:
            DataError: ONNX Runtime refuses the input or fails on it; its message is quoted.
        """
        names = [o.name for o in self._session.get_outputs()] if names is None else list(names)
        if not names:
            return {}
        try:
            values = self._session.run(names, dict(feed), self._quiet)
        except Exception as error:
            raise _refused(feed, error) from error
        return dict(zip(names, values, strict=True))

    def seconds(self, feed: Feed) -> float:
        """Seconds that a run on *feed* takes; its outputs are dropped.

        Raises:
            DataError: as ``run``.
        """
        try:
            start = perf_counter()
            self._session.run(None, feed)
            return perf_counter() - start
        except Exception as error:
            raise _refused(feed, error) from error

    def end_profile(self) -> Path:
        """Stop profiling; the file that has what nodes took."""
        return Path(self._session.end_profiling())


def _holds_float8(model: Source) -> bool:
    """Whether *model*, where it is no file, has codes of float8 beside a QuantizeLinear."""
    if isinstance(model, onnx.ModelProto):
        if all(o.version < _FLOAT8_OPSET for o in model.opset_import if o.domain in DEFAULT):
            return False
        graphs = [model.graph, *_inner(model.graph)]
        stored = any(t.data_type in _FLOAT8 for g in graphs for t in g.initializer)
        return stored and any(n.op_type == "QuantizeLinear" for g in graphs for n in g.node)
    if isinstance(model, Model):
        nodes = [n for n in model.nodes() if n.op in ("QuantizeLinear", "DequantizeLinear")]
        stored = any(str(t.dtype).startswith("float8") for n in nodes for t in n.inputs[2:])
        return stored and any(n.op == "QuantizeLinear" for n in nodes)
    return False


def _inner(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    for node in graph.node:
        for inner in subgraphs(node):
            yield inner
            yield from _inner(inner)


def _refused(feed: Feed, error: Exception) -> DataError:
    shapes = ", ".join(f"{k} {v.dtype}{list(v.shape)}" for k, v in feed.items())
    return DataError(f"the model failed on the input {shapes}", why=_message(error))


def _source(model: Source, files: contextlib.ExitStack) -> str | bytes:
    """What ONNX Runtime reads: bytes, or the path of a file that *files* may remove later."""
    if isinstance(model, bytes):
        return model
    if not isinstance(model, (Model, onnx.ModelProto)):
        if not Path(model).is_file():
            raise ModelFileError(f"no such model file: {model}")
        return str(model)
    if isinstance(model, onnx.ModelProto):
        try:
            data: bytes = model.SerializeToString()  # to ask for its size first costs as much
            if len(data) < LARGEST_MESSAGE:
                return data
        except (EncodeError, ValueError):  # protobuf's ways of saying "too large"
            pass
        model = Model.load(model)
    elif model.stored_bytes() < LARGEST_MESSAGE:
        return bytes(model.to_proto().SerializeToString())
    folder = files.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
    path = Path(folder) / "model.onnx"
    model.save(path, external=True)
    return str(path)


def _info(value: Any) -> InputInfo:
    kind = str(value.type)
    inner = kind.removeprefix("tensor(").removesuffix(")") if kind.startswith("tensor(") else ""
    known = _TYPES.get(inner)
    shape = None if value.shape is None else tuple(value.shape)
    return InputInfo(value.name, None if known is None else np.dtype(known), shape)


def _message(error: Exception) -> str:
    """ONNX Runtime's message without its prefix and source positions."""
    text = str(error).strip().split("\n")[0]
    return text.removeprefix("[ONNXRuntimeError] :").strip()
