"""The pass ``re-estimate-batchnorm``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.calibrate.channel_moments import ChannelMoments, ChannelMomentsState
from onnxq.calibrate.statistics import Statistics
from onnxq.graph import Model, constant_value, replace_input
from onnxq.passes._scope import Scope
from onnxq.passes.fuse._batchnorm import affine
from onnxq.pipeline import Context, Pass, Stage

_FEWEST = 64
"""Values of a channel below which its variance is left to chance: σ is known to about a tenth."""


@dataclass(frozen=True, kw_only=True)
class ReEstimateBatchNorm(Pass):
    """Measure the mean and the variance of each BatchNormalization anew, on the calibration data.

    What it does:
        Replaces the stored mean and variance of the input by those of the calibration samples::

            mean = E[x]        variance = E[x²] − E[x]²        for each channel

        From the inputs of the network on: what a BatchNormalization reads is measured when those
        in front of it have their new values. Scale and bias stay.

    Why:
        Stored statistics belong to the data and the weights of training. Where inputs come from
        elsewhere (another camera, another preprocessing), or channels were pruned or edited
        since, what follows is neither centred nor of variance 1, and ranges are wider than needed.

    Example:
        ``re-estimate-batchnorm`` in front of ``fuse-batchnorm``; no recipe with a name has it.

    When it declines:
        Training mode; a statistic is computed; the node is inside of a sub-graph; a channel has
        fewer than 64 values on the calibration data.

    Numerics:
        Another function, on purpose: the report compares with the float network that has the new
        statistics. One run of the model for each BatchNormalization that another one feeds.

    Source:
        Ioffe and Szegedy, Batch Normalization (2015), section 3.1; re-estimation before
        quantization as in Sun et al., Hybrid 8-bit Floating Point Training and Inference (2019),
        and Li et al., Revisiting Batch Normalization for Practical Domain Adaptation (2016).

    Attributes:
        samples: how many samples are measured, from the first on.
    """

    name: ClassVar[str] = "re-estimate-batchnorm"
    stage: ClassVar[Stage] = Stage.FUSE
    preserves: ClassVar[float | None] = None
    needs_samples: ClassVar[bool] = True

    samples: int = 256

    def run(self, model: Model, ctx: Context) -> None:
        """Measure level by level, and store what was found."""
        scope, nodes = Scope(model), []
        for node in scope.sites("BatchNormalization"):
            found = affine(node)
            if isinstance(found, str):
                ctx.decline(node, found)
            elif scope.graph(node) is not model.graph:
                ctx.decline(node, "it is inside of a sub-graph, whose tensors are not measured")
            elif constant_value(node.inputs[0]) is None:
                nodes.append(node)
        observer, changed = ChannelMoments(), False
        for level in _levels(model, nodes):
            wanted = {node.inputs[0].name: (observer,) for node in level}
            measured = ctx.observe_apart(model, wanted, self.samples)
            for node in level:
                state = measured.get(node.inputs[0].name, observer)
                changed |= _store(scope, node, state, ctx)
        if changed:
            ctx.statistics = Statistics()  # what was measured before holds no longer


def _store(scope: Scope, node: gs.Node, state: ChannelMomentsState, ctx: Context) -> bool:
    """Give *node* the moments of *state*; whether it was."""
    stored = constant_value(node.inputs[3])
    assert stored is not None, node.name
    if state.count.size != stored.size or state.count.min(initial=np.inf) < _FEWEST:
        few = int(state.count.min()) if state.count.size else 0
        ctx.decline(node, f"a channel has {few} values on the data, fewer than {_FEWEST}")
        return False
    for index, value in ((3, state.mean), (4, state.variance)):
        name = scope.model.unique_name(f"{node.inputs[index].name}__measured")
        replace_input(node, index, gs.Constant(name, value.astype(stored.dtype)))
    return True


def _levels(model: Model, nodes: list[gs.Node]) -> list[list[gs.Node]]:
    """*nodes* in groups: those of one group read nothing that another one of it feeds."""
    mine = {id(node) for node in nodes}
    depth: dict[int, int] = {}
    levels: dict[int, list[gs.Node]] = {}
    for node in model.graph.nodes:
        before = max((depth.get(id(t), 0) for t in node.inputs), default=0)
        if id(node) in mine:
            levels.setdefault(before, []).append(node)
            before += 1
        for out in node.outputs:
            depth[id(out)] = before
    return [levels[i] for i in sorted(levels)]
