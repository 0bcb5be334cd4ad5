"""Tensors that keep their name and hold other numbers than in the model that was given."""

from __future__ import annotations

import json

from onnxq.graph import Model

SCALED = "onnxq.scaled"
"""Key of the metadata: a JSON list of names of tensors whose channels were multiplied."""


def scaled_tensors(model: Model) -> frozenset[str]:
    """Names of the tensors of *model* that cannot be compared with those of the original."""
    return frozenset(json.loads(model.metadata.get(SCALED, "[]")))
