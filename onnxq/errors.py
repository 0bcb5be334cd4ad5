"""Every error that onnxq raises, on one screen.

::

    OnnxqError                    exit code 1: an internal error
    ├── UserError                 exit code 2: the input has to change
    │   ├── ModelFileError        missing, truncated, not an ONNX model, missing external data
    │   ├── DataError             calibration data: missing, wrong name, dtype, rank, NaN
    │   ├── OptionError           an option's value cannot be used
    │   │   └── UnknownNameError  a target, pass, option, node or provider that does not exist
    │   ├── OutputError           the result cannot be written
    │   └── DependencyError       an installed package is outside the accepted range
    ├── UnsupportedModelError     exit code 3: the model needs what onnxq or the target lacks
    ├── ConditionError            exit code 4: a --require-…, --min-… or gate condition failed
    ├── NothingQuantizedError     exit code 5: --require-quantized, and nothing was
    └── PassError                 exit code 1: a pass broke the model; names the pass
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class OnnxqError(Exception):
    """What happened, where, why, and what to try.

    *message* says what happened and where; *why* the cause; *hint* what to try.
    """

    exit_code = 1

    def __init__(self, message: str, *, why: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message, self.why, self.hint = message, why, hint

    def __str__(self) -> str:
        parts = [self.message]
        if self.why:
            parts.append(self.why)
        if self.hint:
            parts.append(f"Try: {self.hint}")
        return "\n".join(parts)


class UserError(OnnxqError):
    """The input has to change."""

    exit_code = 2


class ModelFileError(UserError):
    """The model file is missing, truncated, not ONNX, or lacks its external data."""


class DataError(UserError):
    """The calibration or report data cannot be used."""


class OptionError(UserError):
    """The value of an option cannot be used."""


class UnknownNameError(OptionError):
    """A name that does not exist; the nearest existing names are listed.

    Args:
        kind: what the name should name, such as ``"target"``.
        name: the unknown name.
        known: the names that exist.
        hint: replaces the default hint (the nearest names, or all when there are few).
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], *, hint: str = "") -> None:
        known = sorted(set(known))
        near = difflib.get_close_matches(name, known, n=5, cutoff=0.5)
        if not hint and near:
            hint = ", ".join(near)
        elif not hint and known:
            hint = ", ".join(known[:12]) + (f" … ({len(known)} in all)" if len(known) > 12 else "")
        super().__init__(f"unknown {kind} '{name}'", hint=hint)
        self.kind, self.name, self.near = kind, name, near


class OutputError(UserError):
    """The result cannot be written."""


class DependencyError(UserError, ImportError):
    """An installed package is outside the accepted version range."""


class UnsupportedModelError(OnnxqError):
    """The model needs what onnxq or the target lacks."""

    exit_code = 3


class ConditionError(OnnxqError):
    """A ``--require-…``, ``--min-…`` or gate condition failed."""

    exit_code = 4


class NothingQuantizedError(OnnxqError):
    """Nothing was quantized although ``--require-quantized`` was given."""

    exit_code = 5


class PassError(OnnxqError):
    """A pass broke the model: an invariant or the function is no longer kept."""
