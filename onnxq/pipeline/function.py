"""Verifies that passes keep the function of the model as closely as they declare.

Passes are taken in segments: from a point where the outputs are known to a point where they are
looked at again. A segment may deviate by the sum of what its passes declare. Where it deviates by
more, the passes are run again from a copy kept at its start, with a look after each, and the one
that deviates is named.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable

from onnxq.errors import OnnxqError, PassError
from onnxq.graph import Model
from onnxq.pipeline.base import Pass
from onnxq.pipeline.context import Context
from onnxq.pipeline.equivalence import Compare, Outputs, rounding_of, worst
from onnxq.pipeline.journal import Journal, PassRecord

ROUNDING = 1e-5
"""What the runtime's own float kernels differ by: it chooses others for another graph."""

Apply = Callable[[Pass, Model, Context], None]


class FunctionCheck:
    """Follows a run and compares outputs; does nothing without *compare*."""

    def __init__(self, compare: Compare | None, apply: Apply) -> None:
        self._compare, self._apply = compare, apply
        self._start: tuple[Model, Context] | None = None
        self._reference: Outputs | None = None
        self._segment: list[Pass] = []
        self._tolerance = 0.0
        self._changed = False

    def before(self, model: Model, ctx: Context, pass_: Pass) -> None:
        """*pass_* is about to run."""
        if self._compare is None:
            return
        if pass_.preserves is None:
            self.check(model)
        elif not self._segment:
            # one copy for a segment; kept on when nothing has changed since it was made
            if self._start is None:
                self._start = (model.clone(), copy_context(ctx))
            else:
                self._start = (self._start[0], copy_context(ctx))

    def after(self, pass_: Pass, changed: bool) -> None:
        """*pass_* has run, and *changed* says whether the model is another now."""
        if self._compare is None:
            return
        if pass_.preserves is None:
            if changed:
                self._start = self._reference = None
            return
        self._segment.append(pass_)
        if changed:
            self._changed = True
            self._tolerance += pass_.preserves

    def check(self, model: Model) -> None:
        """End the segment: compare.

        Raises:
            PassError: the function changed by more than declared; names the pass and the error.
        """
        segment, tolerance, changed = self._segment, self._tolerance, self._changed
        self._segment, self._tolerance, self._changed = [], 0.0, False
        if self._compare is None or not changed or self._start is None:
            return
        if self._reference is None:
            self._reference = self._compare(self._start[0])
        failure: OnnxqError | None = None
        outputs: Outputs = {}
        try:
            outputs = self._compare(model)
        except OnnxqError as error:
            failure = error
        allowed = tolerance + rounding_of(model, ROUNDING)
        name, error_size = worst(self._reference, outputs, allowed)
        if name and failure is None:
            rounded = self._compare(self._start[0], optimize=False)
            name, error_size = worst(self._reference, outputs, allowed, rounded)
        if failure is not None or name:
            raise self._bisect(segment, name, error_size, tolerance) from failure
        self._start, self._reference = None, outputs

    def _bisect(self, segment: list[Pass], name: str, error: float, tolerance: float) -> PassError:
        """Run the segment again with a look after each pass."""
        assert self._start is not None and self._reference is not None and self._compare
        model, ctx = self._start
        previous = self._reference
        rounded = self._compare(model, optimize=False)
        for pass_ in segment:
            ctx.journal.records.append(PassRecord(pass_.name))
            self._apply(pass_, model, ctx)
            try:
                now = self._compare(model)
            except OnnxqError as failure:
                return PassError(f"{pass_.name}: the model no longer runs", why=str(failure))
            allowed = pass_.preserves or 0.0
            output, size = worst(previous, now, allowed + rounding_of(model, ROUNDING), rounded)
            if output:
                return PassError(
                    f"{pass_.name}: changed the function of the model",
                    why=f"output '{output}' deviates by {size:.2e} of its largest value; "
                    f"the pass declares at most {allowed:.0e}",
                    hint=f"run without '{pass_.name}', and report it",
                )
            previous = now
        names = ", ".join(p.name for p in segment)
        return PassError(
            f"{names}: together changed the function of the model",
            why=f"output '{name}' deviates by {error:.2e} of its largest value; "
            f"together they declare at most {tolerance:.0e}",
        )


def copy_context(ctx: Context) -> Context:
    """A context that can be run on without touching *ctx*: its tables are copied, arrays shared."""
    return dataclasses.replace(
        ctx,
        groups=list(ctx.groups),
        plan=dataclasses.replace(
            ctx.plan,
            nodes=dict(ctx.plan.nodes),
            tensors=dict(ctx.plan.tensors),
            kept_float=dict(ctx.plan.kept_float),
            excluded=dict(ctx.plan.excluded),
            precisions=dict(ctx.plan.precisions),
        ),
        qparams=dict(ctx.qparams),
        choices=dict(ctx.choices),
        blocks=dict(ctx.blocks),
        integers=dict(ctx.integers),
        biases=dict(ctx.biases),
        facts=dict(ctx.facts),
        moments=dict(ctx.moments),
        journal=Journal(copy.deepcopy(ctx.journal.records), list(ctx.journal.warnings)),
    )
