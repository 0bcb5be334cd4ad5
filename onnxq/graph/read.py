"""Reading a model file, with an error that says what is wrong with it."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import ModelProto

from onnxq.errors import ModelFileError
from onnxq.graph.header import DEFAULT, domain_versions


def read_file(path: str | PathLike[str]) -> ModelProto:
    """The model in the file *path*, external data not loaded.

    Raises:
        ModelFileError: the file is missing, a directory, empty, unreadable, truncated, or not an
            ONNX model that the installed onnx knows.
    """
    path = Path(path)
    if path.is_dir():
        raise ModelFileError(f"'{path}' is a directory", hint="name the .onnx file in it")
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ModelFileError(f"there is no model file '{path}'", hint="check the path") from None
    except OSError as error:
        raise ModelFileError(
            f"model file '{path}' cannot be read", why=error.strerror or str(error)
        ) from error
    return parse(data, f"'{path}'")


def parse(data: bytes, what: str) -> ModelProto:
    """The model whose file holds *data*; *what* is how messages call it.

    Raises:
        ModelFileError: it is empty, truncated, or not an ONNX model that the installed onnx knows.
    """
    if not data:
        raise ModelFileError(f"{what} is empty (0 bytes)", hint="export or download it again")
    proto = ModelProto()
    try:
        proto.ParseFromString(data)
    except (DecodeError, RuntimeError) as error:
        missing = _missing_bytes(data)
        if missing:
            raise ModelFileError(
                f"{what} is truncated: it ends {missing:,} bytes too early",
                hint="export or download it again",
            ) from error
        raise ModelFileError(f"{what} is not an ONNX model", why="it is no protobuf message",
                             hint="give a .onnx file") from error  # fmt: skip
    check(proto, what)
    return proto


def check(proto: ModelProto, what: str) -> None:
    """Raise ModelFileError where *proto* is no model, or newer than the installed onnx."""
    lacks = ""
    if not proto.HasField("graph"):
        lacks = "graph"
    elif not proto.ir_version:
        lacks = "IR version"
    elif proto.ir_version >= 3 and not proto.opset_import:
        lacks = "operator set version (opset_import)"
    if lacks:
        raise ModelFileError(f"{what} is not an ONNX model", why=f"it has no {lacks}",
                             hint="give a .onnx file with a whole model")  # fmt: skip
    newer = []
    if proto.ir_version > onnx.IR_VERSION:
        newer.append(f"IR version {proto.ir_version} (known: up to {onnx.IR_VERSION})")
    known = domain_versions()
    for entry in proto.opset_import:
        domain = "" if entry.domain in DEFAULT else entry.domain
        if domain in known and entry.version > known[domain]:
            newer.append(f"opset {entry.version} of domain '{entry.domain or 'ai.onnx'}' "
                         f"(known: up to {known[domain]})")  # fmt: skip
    if newer:
        raise ModelFileError(
            f"{what} is newer than the installed onnx {onnx.__version__}",
            why=", ".join(newer),
            hint="upgrade the onnx package, or export the model for an older version",
        )


def as_proto(source: Any) -> ModelProto | None:
    """The message that *source* is or holds (``.model_proto``, as torch's ONNXProgram has)."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        return parse(bytes(source), "the model (bytes)")
    if not isinstance(source, ModelProto):
        source = getattr(source, "model_proto", None)
        if callable(source):
            source = source()
    if isinstance(source, ModelProto):
        check(source, "the model (in memory)")
        return source
    return None


def _missing_bytes(data: bytes) -> int:
    """How far the last field of the message reaches beyond its end; 0 where that is no field.

    Fields of a message follow each other as tag (number * 8 + wire type) and value; wire type 2
    has its length first (protobuf encoding guide).
    """
    position, known = 0, {f.number for f in ModelProto.DESCRIPTOR.fields}
    while position < len(data):
        start = position
        tag, position = _varint(data, position)
        if tag is None:
            return 1 if start else 0
        if tag >> 3 not in known or tag & 7 not in (0, 2):
            return 0
        size, position = _varint(data, position)
        if size is None:
            return 1
        if tag & 7 == 2:
            position += size
    return position - len(data)


def _varint(data: bytes, position: int) -> tuple[int | None, int]:
    value, shift = 0, 0
    while position < len(data):
        byte = data[position]
        value |= (byte & 127) << shift
        position, shift = position + 1, shift + 7
        if byte < 128 or shift > 63:
            return value, position
    return None, position
