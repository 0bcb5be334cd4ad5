"""What a pass says about itself: its docstring, cut into sections.

A pass's docstring is its documentation: ``onnxq explain PASS`` prints it, ``onnxq passes`` shows
its first line, and its *Attributes* section is the help of its options. A section starts with its
title alone on a line (a colon, ``#`` before it or a line of dashes under it may be added) or with
its title, a colon and text.
"""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass, field
from functools import cache

from onnxq.pipeline.base import Pass

SECTIONS = ("What it does", "Why", "Example", "When it declines", "Numerics", "Source")
"""The sections that every pass has, in this order."""

_OPTIONS = "Attributes"
_TITLE = re.compile(
    rf"^(?:#+\s*)?({'|'.join((*SECTIONS, _OPTIONS))})\s*(?:::?\s*(?P<rest>.*))?$", re.IGNORECASE
)
_RULE = re.compile(r"^[-=~]{3,}$")
_ITEM = re.compile(r"^(\w+(?:\s*,\s*\w+)*)\s*(?:\([^)]*\))?\s*:\s*(.*)$")


@dataclass(frozen=True)
class PassDoc:
    """A docstring in parts.

    Attributes:
        summary: its first paragraph, on one line.
        sections: text by title, titles as in ``SECTIONS``.
        options: help by option name.
    """

    summary: str
    sections: dict[str, str] = field(default_factory=dict)
    options: dict[str, str] = field(default_factory=dict)

    @property
    def missing(self) -> tuple[str, ...]:
        """The sections that are absent or empty."""
        return tuple(s for s in SECTIONS if not self.sections.get(s))


@cache
def pass_doc(cls: type[Pass]) -> PassDoc:
    """The documentation of a pass class (its own docstring, not an inherited one)."""
    return parse(cls.__dict__.get("__doc__") or "")


def parse(docstring: str) -> PassDoc:
    """Cut *docstring* into sections."""
    titles = {t.lower(): t for t in (*SECTIONS, _OPTIONS)}
    parts: dict[str, list[str]] = {"": []}
    current = ""
    for line in inspect.cleandoc(docstring).splitlines():
        match = None if line[:1].isspace() else _TITLE.match(line.rstrip())
        if match and (match["rest"] is None or match["rest"] == "" or ":" in line):
            current = titles[match[1].lower()]
            parts[current] = [match["rest"] or ""]
        elif not (_RULE.match(line) and not "".join(parts[current]).strip()):
            parts[current].append(line)
    sections = {t: inspect.cleandoc("\n".join(lines)) for t, lines in parts.items() if t}
    options = _options(sections.pop(_OPTIONS, ""))
    summary = "\n".join(parts[""]).strip().split("\n\n")[0]
    return PassDoc(" ".join(summary.split()), sections, options)


def _options(text: str) -> dict[str, str]:
    """Help by name, from lines such as ``name: help``; deeper lines continue the one before."""
    found: dict[str, str] = {}
    names: list[str] = []
    for line in text.splitlines():
        match = None if line[:1].isspace() else _ITEM.match(line)
        if match:
            names = [n.strip() for n in match[1].split(",")]
            found.update(dict.fromkeys(names, match[2].strip()))
        else:
            found.update({n: f"{found[n]} {line.strip()}".strip() for n in names})
    return found
