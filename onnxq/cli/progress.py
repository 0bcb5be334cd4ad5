"""One line on standard error that says what is being done and how long it still takes."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from onnxq.cli.console import err

_WORDS = {
    "canonicalize": "canonicalizing",
    "fuse": "fusing",
    "equalize": "equalizing",
    "plan": "planning",
    "calibrate": "calibrating",
    "correct": "choosing integers",
    "emit": "writing Q/DQ",
    "verify": "verifying",
    "report": "measuring errors",
}


class ProgressLine:
    """Shows ``stage`` and ``advance``; the line vanishes at the end. Nothing where *quiet*.

    Use it as a context manager.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("elapsed"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=err(),
            transient=True,
            disable=quiet,
        )
        self._task = self._bar.add_task("starting", total=None)

    def stage(self, name: str) -> None:
        """The work that starts now."""
        self._bar.reset(self._task, description=_WORDS.get(name, name), total=None)

    def advance(self, done: int, total: int | None) -> None:
        """*done* of *total* steps of this work are over."""
        self._bar.update(self._task, completed=done, total=total)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.stop()
