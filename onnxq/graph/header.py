"""The head of a model: versions, producer, operator sets, metadata."""

from __future__ import annotations

from collections.abc import Iterable

import onnx
from onnx import ModelProto, helper

DEFAULT = ("", "ai.onnx")


def default_opset(model: ModelProto) -> int:
    """Version of the default operator domain.

    A model that does not import it gets the newest one that its IR version allows.
    """
    for entry in model.opset_import:
        if entry.domain in DEFAULT:
            return int(entry.version)
    allowed = [row[2] for row in helper.VERSION_TABLE if row[1] <= model.ir_version]
    return int(max(allowed, default=1))


def suitable_ir(opset: int) -> int:
    """An IR version for a new model: the oldest that knows *opset* and 4 (plain initializers)."""
    known = [row[1] for row in helper.VERSION_TABLE if row[2] >= opset]
    return max(4, min(known, default=int(onnx.IR_VERSION)))


def domain_versions() -> dict[str, int]:
    """Newest version of each domain that the installed onnx knows."""
    known: dict[str, int] = {"": int(onnx.defs.onnx_opset_version())}
    for row in helper.VERSION_TABLE:
        known["ai.onnx.ml"] = max(known.get("ai.onnx.ml", 1), row[3])
    return known


def set_opsets(model: ModelProto, opset: int, used: Iterable[str | None]) -> None:
    """Let *model* import the default domain at *opset*, and every domain in *used*.

    A domain that is not imported yet gets version 1, or the newest one that onnx knows.
    """
    imported = {entry.domain: entry for entry in model.opset_import}
    default = next((imported[d] for d in DEFAULT if d in imported), None)
    if default is not None and default.version != opset:
        default.version = opset
    for domain in sorted({d or "" for d in used}):
        if domain in imported or (domain in DEFAULT and default is not None):
            continue
        version = opset if domain in DEFAULT else domain_versions().get(domain, 1)
        model.opset_import.add(domain=domain, version=version)


def get_metadata(model: ModelProto) -> dict[str, str]:
    """``metadata_props`` as a dictionary; the first of equal keys counts."""
    found: dict[str, str] = {}
    for entry in model.metadata_props:
        found.setdefault(entry.key, entry.value)
    return found


def set_metadata(model: ModelProto, metadata: dict[str, str]) -> None:
    """Write *metadata*: entries that were there stay in place, new keys follow, sorted."""
    before = get_metadata(model)
    if before == metadata:
        return
    entries = [type(e).FromString(e.SerializeToString()) for e in model.metadata_props]
    del model.metadata_props[:]
    written: set[str] = set()
    for entry in entries:
        if entry.key not in metadata:
            continue
        if metadata[entry.key] == before[entry.key]:
            model.metadata_props.add().CopyFrom(entry)
        elif entry.key not in written:
            model.metadata_props.add(key=entry.key, value=str(metadata[entry.key]))
        written.add(entry.key)
    for key in sorted(metadata.keys() - written):
        model.metadata_props.add(key=key, value=str(metadata[key]))
