"""Tensors that keep their name and hold other numbers than in the model that was given."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from onnxq.graph import Model

SCALED = "onnxq.scaled"
"""Key of the metadata: JSON, deflated in base64, with factors of channels, and by tensor name which
of them apply."""


def scaled_tensors(model: Model) -> frozenset[str]:
    """Names of the tensors of *model* that cannot be compared with those of the original."""
    return frozenset(scale_factors(model))


def scale_factors(model: Model) -> dict[str, NDArray[np.float64]]:
    """By tensor name, what it was multiplied by: float64 [channels] for channels on axis 1.

    Where channels are on other axes, the factors have the rank of the tensor and broadcast to it.
    """
    if SCALED not in model.metadata:
        return {}
    found = json.loads(zlib.decompress(base64.b64decode(model.metadata[SCALED])))
    factors = [_decoded(text) for text in found.get("factors", [])]
    return {name: factors[i] for name, i in found.get("tensors", {}).items()}


def note_scaled(model: Model, factors: Mapping[str, NDArray[np.float64]]) -> None:
    """Note in the metadata of *model* that tensors were multiplied by *factors*.

    Shaped as ``scale_factors`` gives them, or with the rank of the tensor in any case.
    """
    together = scale_factors(model)
    for name, given in factors.items():
        own = _plain(given)
        together[name] = own * together.get(name, np.ones_like(own))
    texts: dict[str, int] = {}
    places = {name: texts.setdefault(_encoded(own), len(texts)) for name, own in together.items()}
    text = json.dumps({"tensors": places, "factors": list(texts)})
    model.metadata[SCALED] = base64.b64encode(zlib.compress(text.encode(), 9)).decode()


def _plain(factors: NDArray[np.float64]) -> NDArray[np.float64]:
    """*factors* as a vector where they are along axis 1 alone."""
    if factors.ndim > 1 and factors.size == factors.shape[1]:
        return factors.reshape(-1)
    return factors


def _encoded(factors: NDArray[np.float64]) -> str:
    """The factors as text; half precision where it holds them exactly."""
    half = factors.astype("<f2")
    kind = "h" if (half == factors).all() else "f"
    data = half if kind == "h" else factors.astype("<f4")
    shape = json.dumps(factors.shape) if factors.ndim > 1 else ""
    return kind + shape + base64.b64encode(data.tobytes()).decode()


def _decoded(text: str) -> NDArray[np.float64]:
    kind = "<f2" if text[0] == "h" else "<f4"
    shape, _, data = text[1:].rpartition("]")
    found = np.frombuffer(base64.b64decode(data), kind).astype(np.float64)
    return found.reshape(json.loads(shape + "]")) if shape else found
