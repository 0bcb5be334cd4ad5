"""Runs passes, measures for them, and verifies what they did."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import pairwise

from onnxq.calibrate.observer import gathered
from onnxq.errors import OnnxqError, PassError
from onnxq.graph import Model
from onnxq.pipeline.base import Pass
from onnxq.pipeline.context import Context
from onnxq.pipeline.equivalence import Compare
from onnxq.pipeline.function import FunctionCheck
from onnxq.pipeline.journal import Journal, PassRecord
from onnxq.pipeline.options import format_pass
from onnxq.pipeline.progress import Progress, Silent
from onnxq.pipeline.snapshot import Snapshot
from onnxq.pipeline.verification import Verifier, Verify


class PassManager:
    """Runs a list of passes over a model.

    Args:
        passes: the passes, in order.
        verify: how much is verified.
        progress: told of each stage and of calibration.
        compare: runs a model on a few real samples and returns its outputs; with it, the
            function of the model is verified within what passes declare in ``preserves``.
    """

    def __init__(
        self,
        passes: Sequence[Pass],
        *,
        verify: Verify = Verify.EACH,
        progress: Progress | None = None,
        compare: Compare | None = None,
    ) -> None:
        self.passes = tuple(passes)
        self.verify = verify
        self.progress: Progress = progress or Silent()
        self.compare = compare if verify is not Verify.NONE else None

    def run(self, model: Model, ctx: Context) -> Journal:
        """Run the passes on *model*, in place; what happened is in ``ctx.journal``, returned.

        Raises:
            PassError: a pass broke an invariant, changed the function of the model by more than
                it declares, or failed; names the pass, the invariant and the node.
            OnnxqError: what a pass itself raises, and lack of data.
        """
        self._note_order(ctx)
        verifier = Verifier(model, self.verify)
        function = FunctionCheck(self.compare, self._apply)
        snapshot = Snapshot(model)
        stage = None
        for position, pass_ in enumerate(self.passes):
            if pass_.stage is not stage:
                stage = pass_.stage
                self.progress.stage(stage.name.lower())
            self._measure(model, ctx, position)
            function.before(model, ctx, pass_)
            record = PassRecord(pass_.name, options_text(pass_))
            ctx.journal.records.append(record)
            started = time.perf_counter()
            self._apply(pass_, model, ctx)
            record.seconds = time.perf_counter() - started

            after = Snapshot(model)
            difference = snapshot.difference(after)
            snapshot = after
            record.nodes_added, record.nodes_removed = difference.added, difference.removed
            record.changed = difference.changed
            function.after(pass_, difference.changed)
            last = position + 1 == len(self.passes)
            boundary = last or self.passes[position + 1].stage is not stage
            verifier.after(pass_, model, ctx, changed=difference.changed, boundary=boundary)
            if boundary or self.verify is Verify.FULL:
                function.check(model)
        return ctx.journal

    def _apply(self, pass_: Pass, model: Model, ctx: Context) -> None:
        try:
            pass_.run(model, ctx)
        except OnnxqError:
            raise
        except Exception as error:
            raise PassError(
                f"{pass_.name}: failed with {type(error).__name__}: {error}",
                why="this is an error in the pass, not in the model",
                hint=f"run without '{pass_.name}', and report it",
            ) from error

    def _note_order(self, ctx: Context) -> None:
        for one, two in pairwise(self.passes):
            if two.stage < one.stage:
                ctx.journal.warn(
                    f"'{two.name}' ({two.stage.name.lower()}) runs after '{one.name}' "
                    f"({one.stage.name.lower()}), as given; the usual order is the reverse"
                )

    def _measure(self, model: Model, ctx: Context, position: int) -> None:
        """One run for what this pass wants and, if that is needed, for what later ones want."""
        pass_ = self.passes[position]
        wanted = {t: tuple(o) for t, o in pass_.wants(model, ctx).items()}
        if not ctx.statistics.missing(wanted):
            return
        present = model.tensors()
        for tensor in wanted:
            if tensor not in present:
                raise PassError(f"{pass_.name}: wants statistics of '{tensor}', which is nowhere")
        later = (p.wants(model, ctx) for p in self.passes[position + 1 :])
        pairs = [
            (tensor, observer)
            for wants in (wanted, *later)
            for tensor, observers in wants.items()
            if tensor in present
            for observer in observers
        ]
        self.progress.stage("calibrate")
        ctx.observe(model, gathered(pairs))
        self.progress.stage(pass_.stage.name.lower())


def options_text(pass_: Pass) -> str:
    """The options of *pass_* as in a recipe, without its name and braces."""
    return format_pass(pass_)[len(pass_.name) :].strip("{}")
