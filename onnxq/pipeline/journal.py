"""What happened: edits, declines, warnings and timings. Nothing is skipped silently."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Decline:
    """A pass saw a candidate and left it: which, and why."""

    pass_name: str
    node: str
    reason: str


@dataclass
class PassRecord:
    """One pass in one run: nodes added and removed (counted by the manager), seconds, declines."""

    name: str
    options: str = ""
    nodes_added: int = 0
    nodes_removed: int = 0
    changed: bool = False
    seconds: float = 0.0
    declines: list[Decline] = field(default_factory=list)


@dataclass
class Journal:
    """The record of a run."""

    records: list[PassRecord] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def declines(self) -> list[Decline]:
        """All declines, in order."""
        return [d for r in self.records for d in r.declines]

    def warn(self, text: str) -> None:
        """Note something that the user should read; once for each text."""
        if text not in self.warnings:
            self.warnings.append(text)
