"""Nodes that compute one well-known function together."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Group:
    """Nodes that are one function in many operators, for plans that keep or quantize it whole.

    Attributes:
        kind: ``"hardswish"``, ``"silu"``, ``"gelu"``, ``"layernorm"`` or ``"rmsnorm"``.
        nodes: names of its nodes; the last one computes *output*.
        input: name of the one activation that it reads.
        output: name of the tensor that it computes; no other tensor of it is read outside.
    """

    kind: str
    nodes: tuple[str, ...]
    input: str
    output: str
