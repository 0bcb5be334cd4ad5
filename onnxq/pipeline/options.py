"""A pass's options: its dataclass fields, with their types, defaults and help."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from onnxq.errors import OptionError, UnknownNameError
from onnxq.pipeline.base import Pass
from onnxq.pipeline.documentation import pass_doc
from onnxq.pipeline.literals import Word, format_value
from onnxq.quant import DType, number_format


@dataclass(frozen=True)
class Option:
    """One option of a pass.

    Attributes:
        name: as in recipes and on the command line.
        annotation: the type of its value.
        default: its value where none is given; ``dataclasses.MISSING`` where it is required.
        help: what the pass's docstring says of it.
    """

    name: str
    annotation: Any
    default: Any
    help: str

    @property
    def type_text(self) -> str:
        """The type in words, such as ``"int"`` or ``"one of tensor, channel"``."""
        return describe(self.annotation)

    @property
    def default_text(self) -> str:
        """The default as text; empty where the option is required."""
        return "" if self.default is dataclasses.MISSING else format_value(self.default)


@cache
def options_of(cls: type[Pass]) -> dict[str, Option]:
    """The options of a pass class by name, in the order of its fields."""
    hints = typing.get_type_hints(cls)
    helps = pass_doc(cls).options
    found = {}
    for field in dataclasses.fields(cls):
        default = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        found[field.name] = Option(
            field.name, hints[field.name], default, helps.get(field.name, "")
        )
    return found


def build(cls: type[Pass], values: Mapping[str, object]) -> Pass:
    """A pass of class *cls* with the options *values*, converted to the types of its fields.

    Raises:
        UnknownNameError: an option that the pass does not have; the accepted ones are listed.
        OptionError: a value of the wrong type, a required option that is missing, or a value
            that the pass itself refuses.
    """
    options = options_of(cls)
    for name in values:
        if name not in options:
            accepted = ", ".join(f"{o.name} ({o.type_text})" for o in options.values())
            near = UnknownNameError("option", name, options).near
            hint = f"did you mean {near[0]}? " if near else ""
            hint += f"'{cls.name}' accepts {accepted or 'no options'}"
            raise UnknownNameError(f"option of '{cls.name}'", name, options, hint=hint)
    lacking = [o.name for o in options.values() if o.default is dataclasses.MISSING]
    lacking = [name for name in lacking if name not in values]
    if lacking:
        raise OptionError(f"'{cls.name}' needs a value for {', '.join(lacking)}")
    converted = {}
    for name, raw in values.items():
        try:
            converted[name] = convert(raw, options[name].annotation)
        except ValueError:
            given = str(raw) if isinstance(raw, Word) else format_value(raw)
            kind = "text" if isinstance(raw, str) else type(raw).__name__
            raise OptionError(
                f"option '{name}' of '{cls.name}': expected {options[name].type_text}, "
                f"given {given} ({kind})",
                hint=options[name].help,
            ) from None
    try:
        return cls(**converted)
    except (ValueError, TypeError) as error:
        raise OptionError(f"'{cls.name}' refuses its options: {error}") from error


def given_options(pass_: Pass) -> dict[str, object]:
    """The options of *pass_* whose values are not the default."""
    return {
        o.name: getattr(pass_, o.name)
        for o in options_of(type(pass_)).values()
        if o.default is dataclasses.MISSING
        or type(o.default) is not type(getattr(pass_, o.name))
        or o.default != getattr(pass_, o.name)
    }


def format_pass(pass_: Pass) -> str:
    """*pass_* as in a recipe: its name, and in braces the options that are not the default."""
    given = given_options(pass_)
    inner = ",".join(f"{name}={format_value(value)}" for name, value in given.items())
    return f"{pass_.name}{{{inner}}}" if inner else pass_.name


def describe(annotation: Any) -> str:
    """A type in words."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return " or ".join(describe(a) for a in args)
    if origin is Literal:
        return "one of " + ", ".join(format_value(a) for a in args)
    if origin in (tuple, list, set, frozenset, Sequence):
        inner = [describe(a) for a in args if a is not Ellipsis]
        if origin is tuple and Ellipsis not in args:
            return "(" + ", ".join(inner) + ")"
        return "list of " + " or ".join(dict.fromkeys(inner))
    if annotation in (None, type(None)):
        return "none"
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return "one of " + ", ".join(format_value(member) for member in annotation)
    names = {str: "text", DType: "number format", Path: "path"}
    return names.get(annotation) or str(getattr(annotation, "__name__", annotation))


def convert(raw: object, annotation: Any) -> Any:
    """*raw* as a value of type *annotation*.

    Raises:
        ValueError: it is not one.
    """
    origin, args = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return _first(raw, args)
    if origin is Literal:
        return _member([a for a in args if _same(raw, a)])
    if origin in (tuple, list, set, frozenset, Sequence):
        return _sequence(raw, origin, args)
    if annotation in (None, type(None)):
        return None if raw is None or _word(raw) in ("none", "null") else _fail()
    if isinstance(raw, annotation) and not isinstance(raw, str | bool):
        return raw
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return _member([m for m in annotation if raw in (m.value, m.name)])
    reader = _READERS.get(annotation)
    return reader(raw) if reader else _fail()


def _first(raw: object, kinds: tuple[Any, ...]) -> Any:
    """The first of *kinds* that *raw* can be; text last, for every word is text."""
    for kind in sorted(kinds, key=lambda k: k is str):
        try:
            return convert(raw, kind)
        except ValueError:
            continue
    return _fail()


def _member(matches: list[Any]) -> Any:
    return matches[0] if matches else _fail()


def _same(raw: object, literal: object) -> bool:
    """Whether *raw* stands for the value *literal*."""
    try:
        return bool(convert(raw, type(literal)) == literal)
    except ValueError:
        return False


def _sequence(raw: object, origin: Any, args: tuple[Any, ...]) -> Any:
    if isinstance(raw, str) or not isinstance(raw, Sequence | set | frozenset):
        return _fail()
    items = list(raw)
    if origin is tuple and Ellipsis not in args and args:
        if len(items) != len(args):
            return _fail()
        return tuple(convert(x, kind) for x, kind in zip(items, args, strict=True))
    kind = args[0] if args else str
    values = [convert(x, kind) for x in items]
    return values if origin is list else (tuple if origin in (tuple, Sequence) else origin)(values)


def _word(raw: object) -> str | None:
    return raw.lower() if isinstance(raw, Word) else None


def _bool(raw: object) -> bool:
    if isinstance(raw, bool):
        return raw
    word = _word(raw)
    return word in ("true", "yes", "on") or (word not in ("false", "no", "off") and _fail())


def _int(raw: object) -> int:
    if isinstance(raw, bool) or not isinstance(raw, int | Word):
        _fail()
    return raw if isinstance(raw, int) else int(str(raw), 0)


def _float(raw: object) -> float:
    if isinstance(raw, int | float | Word) and not isinstance(raw, bool):
        return float(raw)
    return float(_fail())


def _str(raw: object) -> str:
    return str(raw) if isinstance(raw, str) else _fail()


def _dtype(raw: object) -> DType:
    return number_format(str(raw)) if isinstance(raw, str) else _fail()


def _path(raw: object) -> Path:
    return Path(str(raw)) if isinstance(raw, str) else _fail()


def _fail() -> Any:
    raise ValueError


_READERS: dict[Any, typing.Callable[[object], Any]] = {
    bool: _bool, int: _int, float: _float, str: _str, DType: _dtype, Path: _path,
}  # fmt: skip
