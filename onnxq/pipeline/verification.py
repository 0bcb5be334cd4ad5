"""What the manager checks between passes, and whom it blames."""

from __future__ import annotations

from enum import Enum

import onnx

from onnxq.errors import OnnxqError, PassError
from onnxq.graph import Model
from onnxq.pipeline.base import Pass
from onnxq.pipeline.context import Context
from onnxq.pipeline.invariants import Interface, violations


class Verify(Enum):
    """How much is verified, and when.

    FULL: invariants, ``onnx.checker`` and outputs after each pass (for tests).
    EACH: invariants after each pass; the checker and outputs at the end of each stage.
    STAGE: all of it at the end of each stage only.
    NONE: nothing.
    """

    FULL = "full"
    EACH = "each"
    STAGE = "stage"
    NONE = "none"


class Verifier:
    """Checks form: the table of invariants, the interface, and ``onnx.checker``.

    What is wrong with *model* from the start is not blamed on a pass.
    """

    def __init__(self, model: Model, verify: Verify) -> None:
        self._verify = verify
        self._known = set(violations(model)) if verify is not Verify.NONE else set()
        self._interface = Interface.of(model)
        self._unseen: list[Pass] = []
        self._unchecked: list[Pass] = []

    def after(
        self, pass_: Pass, model: Model, ctx: Context, *, changed: bool, boundary: bool
    ) -> None:
        """*pass_* has run; *boundary* where it is the last of its stage.

        Raises:
            PassError: an invariant is broken; names the pass, the invariant and the node.
        """
        if changed:
            self._unseen.append(pass_)
            self._unchecked.append(pass_)
        each = self._verify in (Verify.EACH, Verify.FULL)
        if self._unseen and (each or (boundary and self._verify is Verify.STAGE)):
            self._invariants(model)
            self._unseen = []
        full = self._verify is Verify.FULL
        if self._unchecked and (full or (boundary and self._verify is not Verify.NONE)):
            self._format(model)
            self._unchecked = []

    def _invariants(self, model: Model) -> None:
        changes = any(p.changes_interface for p in self._unseen)
        for violation in violations(model, None if changes else self._interface):
            if violation not in self._known:
                raise PassError(
                    f"{_names(self._unseen)}: broke '{violation.invariant}' at '{violation.where}'",
                    why=violation.problem,
                )
        if changes:
            self._interface = Interface.of(model)

    def _format(self, model: Model) -> None:
        try:
            onnx.checker.check_model(_with_shapes(model.outline()))
        except (onnx.checker.ValidationError, ValueError, OnnxqError) as error:
            raise PassError(
                f"{_names(self._unchecked)}: the model is no longer valid ONNX",
                why=str(error).strip(),
            ) from error


def _with_shapes(proto: onnx.ModelProto) -> onnx.ModelProto:
    """*proto*, its inputs and outputs with a shape: runtimes do without, the checker does not."""
    for value in (*proto.graph.input, *proto.graph.output):
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.shape.SetInParent()
    return proto


def _names(passes: list[Pass]) -> str:
    return ", ".join(dict.fromkeys(p.name for p in passes))
