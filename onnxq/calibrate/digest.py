"""Digests that tell whether statistics belong to a model and to data."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxq.graph import Model


def model_digest(model: Model) -> str:
    """SHA-256 of *model* as it is now, metadata aside; hexadecimal."""
    proto = model.to_proto()
    del proto.metadata_props[:]
    digest = hashlib.sha256()
    # by parts: a message as a whole may be larger than protobuf can write
    parts = [*proto.graph.node, *proto.graph.initializer, *proto.graph.input, *proto.graph.output]
    for part in (*proto.opset_import, *parts):
        data = part.SerializeToString(deterministic=True)
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()


class FeedDigest:
    """SHA-256 over samples, in order: names, types, shapes and values."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def update(self, feed: Mapping[str, NDArray[Any]]) -> None:
        """Take in one sample."""
        for name in sorted(feed):
            array = feed[name]
            self._hash.update(f"{name}|{array.dtype}|{array.shape}|".encode())
            if array.dtype.kind in "OU":
                self._hash.update("\0".join(map(str, array.ravel())).encode())
            else:
                self._hash.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
        self._hash.update(b";")

    def hexdigest(self) -> str:
        """The digest so far, hexadecimal."""
        return self._hash.hexdigest()
