"""Whom to tell how far the work is; the library itself never prints."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """What the command line, or any other caller, may give to be told."""

    def stage(self, name: str) -> None:
        """The work that starts now, such as ``"fuse"`` or ``"calibrate"``."""
        ...

    def advance(self, done: int, total: int | None) -> None:
        """*done* of *total* steps of this work are over; None where the total is not known."""
        ...


class Silent:
    """Tells nobody."""

    def stage(self, name: str) -> None:
        """Do nothing."""

    def advance(self, done: int, total: int | None) -> None:
        """Do nothing."""
