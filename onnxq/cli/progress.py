"""One line on standard error that says what is being done and how long it still takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self, TypeVar

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

T = TypeVar("T")

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
    """Shows ``stage`` and ``advance``; the line vanishes at the end.

    Nothing is shown where *quiet*, nor where standard error is no terminal. Use it as a
    context manager.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        console = err()
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("elapsed"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=quiet or not console.is_terminal,
        )
        self._task = self._bar.add_task("starting", total=None)

    def stage(self, name: str) -> None:
        """The work that starts now."""
        self._bar.reset(self._task, description=_WORDS.get(name, name), total=None)

    def advance(self, done: int, total: int | None) -> None:
        """*done* of *total* steps of this work are over."""
        self._bar.update(self._task, completed=done, total=total)

    def each(self, items: Iterable[T], total: int | None) -> Iterator[T]:
        """*items*, with one step for each that is done."""
        self.advance(0, total)
        for done, item in enumerate(items, 1):
            yield item
            self.advance(done, total)

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
