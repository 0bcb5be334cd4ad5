"""Second moments of what layers read, a bounded number of layers at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from onnxq.calibrate.observer import gathered
from onnxq.calibrate.patch_moments import PatchMoments, PatchMomentsState
from onnxq.graph import Model
from onnxq.passes.correct._layers import Layer, blocks
from onnxq.pipeline import Context

_ELEMENTS = 25_000_000
"""Values of second moments in memory at once; each is held twice, in 4 bytes."""


def moments(
    layers: Sequence[Layer], model: Model, ctx: Context, *, samples: int, patches: int
) -> Iterator[tuple[Layer, PatchMomentsState]]:
    """Each of *layers* with the moments of what it reads, measured on the first *samples*.

    *patches* is how many a sample gives at most.
    """
    for block in blocks(layers, _ELEMENTS):
        own = [(y.node.inputs[0].name, PatchMoments(y.reads, patches)) for y in block]
        found = ctx.observe_apart(model, gathered(own), samples)
        for layer, (x, observer) in zip(block, own, strict=True):
            yield layer, found.get(x, observer)
