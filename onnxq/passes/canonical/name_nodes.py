"""The pass ``name-nodes``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onnxq.graph import Model
from onnxq.pipeline import Context, Pass, Stage


@dataclass(frozen=True, kw_only=True)
class NameNodes(Pass):
    """Give every node a name of its own.

    What it does:
        A node without a name is called after its operator and its first output
        (``Conv_features.3``). Of several nodes with one name the first keeps it, and the others
        get the smallest free suffix (``conv_1``). Sub-graphs are included: a name is unique in
        the whole model.

    Why:
        Plans, reports, exclusions and overrides speak of nodes by name. ONNX allows nodes
        without a name, and several with one.

    Example:
        ``t = Relu(x)`` without a name  becomes  ``[Relu_t] t = Relu(x)``.

    When it declines:
        Never.

    Numerics:
        Exact: nothing is computed.

    Source:
        ONNX IR specification, section "Nodes": the name is optional, for diagnosis.
    """

    name: ClassVar[str] = "name-nodes"
    stage: ClassVar[Stage] = Stage.CANONICALIZE
    preserves: ClassVar[float | None] = 0.0

    def run(self, model: Model, ctx: Context) -> None:
        """Name what has no name or shares one."""
        nodes = list(model.nodes())
        taken = {n.name for n in nodes if n.name}
        seen: set[str] = set()
        for node in nodes:
            if node.name and node.name not in seen:
                seen.add(node.name)
                continue
            result = next((t.name for t in node.outputs if t.name), "")
            base = node.name or (f"{node.op}_{result}" if result else node.op)
            name, i = base, 1
            while name in taken:
                name, i = f"{base}_{i}", i + 1
            node.name = name
            taken.add(name)
            seen.add(name)
