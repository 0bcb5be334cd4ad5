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
from onnxq.report.held import unhold
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
        last = (HoldGates, MoveCodes, *FORMS)
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
                ending = [p for p in forms if _changes(p, work, ctx)]
                gates = [p for p in ending if isinstance(p, HoldGates)]
                PassManager(gates, progress=self.progress).run(work, ctx)
                qdq = work.clone() if ending else work
                if gates:
                    unhold(qdq)
                PassManager([p for p in ending if p not in gates], progress=self.progress).run(
                    work, ctx
                )
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


def _changes(step: Pass, work: Model, ctx: Context) -> bool:
    """Whether *step*, one of the last, finds anything in *work*."""
    if isinstance(step, MoveCodes):
        return moves_codes(work, ctx)
    return not isinstance(step, HoldGates) or holds_gates(work, ctx)
