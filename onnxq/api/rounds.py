"""Static quantization itself: plan, correct, emit, and again without what did not fuse."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from onnxq.api.coverage import ROUNDS, Look, look, taken_back
from onnxq.api.recipe import FORMS
from onnxq.graph import Model
from onnxq.graph.bodies import CONTROL
from onnxq.passes.emit.hold_gates import HoldGates, holds_gates
from onnxq.passes.emit.move_codes import MoveCodes, moves_codes
from onnxq.pipeline import Context, Pass, PassManager, Recipe, Stage
from onnxq.pipeline.equivalence import Compare
from onnxq.pipeline.progress import Progress
from onnxq.runtime.providers import Provider


@dataclass(frozen=True)
class Emitted:
    """What became of a model.

    Attributes:
        original: the float model before integers were put in.
        work: the quantized model.
        qdq: the same with QuantizeLinear and DequantizeLinear, whatever form *work* has.
        ctx: the plan, scales and integers.
        found: what the runtime makes of it.
        loose: by name, nodes that went back to float because they did not fuse, with the reason.
    """

    original: Model
    work: Model
    qdq: Model
    ctx: Context
    found: Look
    loose: dict[str, str]


@dataclass(frozen=True)
class Rounds:
    """How often, and with what, a model is quantized.

    Attributes:
        steps: the recipe.
        context: makes a context; given the nodes that must stay in float, with reasons.
        compare: runs a model on real samples, to check its function; None: it is not checked.
        keep_unfused: whether nodes that do not fuse stay quantized.
        simulate: whether the result is explicit arithmetic.
        rest: whether the recipe has an effect where nothing is quantized.
        providers: execution providers.
        progress: told of stages.
    """

    steps: Recipe
    context: Callable[[dict[str, str]], Context]
    compare: Compare | None
    keep_unfused: bool
    simulate: bool
    rest: bool
    providers: Sequence[Provider]
    progress: Progress

    def run(self, work: Model, untouched: Model) -> Emitted:
        """Quantize *work*, in place in the first round; *untouched* is a copy of it."""
        before = [p for p in self.steps.passes if p.stage < Stage.EMIT]
        last: tuple[type[Pass], ...] = (*_FINDS, *FORMS)
        after = [p for p in self.steps.passes if p.stage >= Stage.EMIT and not isinstance(p, last)]
        forms = [p for p in self.steps.passes if isinstance(p, last)]
        loose: dict[str, str] = {}
        attempt = 1
        while True:
            ctx = self.context(loose)
            PassManager(before, progress=self.progress, compare=self.compare).run(work, ctx)
            inner = any(node.op in CONTROL for node in work.graph.nodes)
            if ctx.plan.nodes or self.rest or inner:
                original = work.clone()
                PassManager(after, progress=self.progress).run(work, ctx)
                ending = [p for p in forms if _FINDS.get(type(p), _always)(work, ctx)]
                qdq = work.clone() if ending else work
                PassManager(ending, progress=self.progress).run(work, ctx)
            else:  # nothing to gain: the model as it was given, not as it was prepared
                original, work = untouched, untouched.clone()
                qdq = work
            self.progress.stage("verify")
            looked_at = qdq if self.simulate else work
            found = look(looked_at, original, ctx, self.providers, inside=False)
            back = {} if self.keep_unfused or attempt == ROUNDS else taken_back(found, ctx)
            if not back:
                return Emitted(original, work, qdq, ctx, found, loose)
            loose |= back
            work = untouched.clone()
            attempt += 1


def _always(work: Model, ctx: Context) -> bool:
    return True


_FINDS: dict[type[Pass], Callable[[Model, Context], bool]] = {
    HoldGates: holds_gates,
    MoveCodes: moves_codes,
}
"""The passes that change the file for its kernels' sake, and whether they find anything to do."""
