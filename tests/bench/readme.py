"""Parts of the README that programs of this folder write: what stands between two marks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

README = Path(__file__).resolve().parents[2] / "README.md"


@dataclass(frozen=True)
class Section:
    """A part of the README.

    Attributes:
        what: its name in the marks.
        program: the file of this folder that writes it.
    """

    what: str
    program: str

    @property
    def marks(self) -> tuple[str, str]:
        """The lines before and behind it."""
        return (
            f"<!-- {self.what}: written by tests/bench/{self.program} -->",
            f"<!-- end of {self.what} -->",
        )

    def shown(self) -> str:
        """What the README has."""
        return self._parts()[1].strip()

    def write(self, text: str) -> None:
        """Put *text* there."""
        (begin, end), (before, _, after) = self.marks, self._parts()
        README.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}", encoding="utf-8")

    def _parts(self) -> tuple[str, str, str]:
        begin, end = self.marks
        before, rest = README.read_text(encoding="utf-8").split(begin)
        shown, after = rest.split(end)
        return before, shown, after
