"""The values of options as text: reading them without their type, and writing them.

::

    value := list | tuple | "text" | 'text' | word
    list  := [ value , … ]        tuple := ( value , … )

A *word* is anything else up to a separator: ``3``, ``1e-3``, ``true``, ``none``, ``entropy``. What
it means is decided by the type of the option, in ``options.py``.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from onnxq.errors import OptionError

Raw = object
"""A value before its type is known: Word, str (quoted), int, float, bool, None, list or tuple."""

_STOP = set(",{}[]()=\"'")
_CLOSE = {"[": "]", "(": ")"}
_RESERVED = {"none", "null", "true", "false", "yes", "no", "on", "off"}
_ESCAPES = {"n": "\n", "t": "\t"}


class Word(str):
    """Text that stood without quotes."""

    __slots__ = ()


class Cursor:
    """A position in a text that is being read.

    Args:
        text: the whole text; errors show where in it they happened.
        what: what the text is, for error messages.
    """

    def __init__(self, text: str, what: str = "recipe") -> None:
        self.text, self.what, self.at = text, what, 0

    def fail(self, expected: str) -> OptionError:
        """The error that *expected* was not found here."""
        found = repr(self.text[self.at]) if self.at < len(self.text) else "the end"
        return OptionError(
            f"{self.what} '{self.text}': expected {expected} at position {self.at + 1}, "
            f"found {found}",
            hint="write passes as name{option=value,option=value},name,…",
        )

    def peek(self) -> str:
        """The next character that is not a space; empty at the end."""
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1
        return self.text[self.at : self.at + 1]

    def take(self, character: str) -> bool:
        """Step over *character* if it is next."""
        if self.peek() != character or not character:
            return False
        self.at += 1
        return True

    def need(self, character: str) -> None:
        """Step over *character*; an error where something else is next."""
        if not self.take(character):
            raise self.fail(f"'{character}'")

    def word(self, expected: str) -> Word:
        """The text up to the next separator or space."""
        self.peek()
        start = self.at
        while self.at < len(self.text):
            c = self.text[self.at]
            if c in _STOP or c.isspace():
                break
            self.at += 1
        if start == self.at:
            raise self.fail(expected)
        return Word(self.text[start : self.at])

    def value(self) -> Raw:
        """A value."""
        c = self.peek()
        if c in _CLOSE:
            self.at += 1
            items = self._items(_CLOSE[c])
            return items if c == "[" else tuple(items)
        if c in ("'", '"'):
            return self._quoted(c)
        return self.word("a value")

    def _items(self, close: str) -> list[Raw]:
        items: list[Raw] = []
        while not self.take(close):
            if items:
                self.need(",")
                if self.take(close):
                    break
            items.append(self.value())
        return items

    def _quoted(self, quote: str) -> str:
        start = self.at
        self.at += 1
        out: list[str] = []
        while self.at < len(self.text):
            c = self.text[self.at]
            self.at += 1
            if c == quote:
                return "".join(out)
            if c == "\\" and self.at < len(self.text):
                c = _ESCAPES.get(self.text[self.at], self.text[self.at])
                self.at += 1
            out.append(c)
        self.at = start
        raise OptionError(f"{self.what} '{self.text}': the quote at {start + 1} is not closed")


def format_value(value: object) -> str:
    """*value* as text that reads back as the same value."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Enum):
        return format_value(value.value if isinstance(value.value, str) else value.name)
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, tuple):
        return "(" + _joined(value) + ("," if len(value) == 1 else "") + ")"
    if isinstance(value, list | frozenset | set):
        ordered = value if isinstance(value, list) else sorted(value)
        return "[" + _joined(ordered) + "]"
    text = str(value)
    if not isinstance(value, str) or _plain(text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + escaped.replace("\n", "\\n").replace("\t", "\\t") + '"'


def _plain(text: str) -> bool:
    """Whether *text* reads back as text without quotes."""
    if not text or text.lower() in _RESERVED:
        return False
    try:
        float(text)
    except ValueError:
        return not any(c in _STOP or c.isspace() or c == "\\" for c in text)
    return False


def _joined(values: Iterable[object]) -> str:
    return ",".join(format_value(v) for v in values)
