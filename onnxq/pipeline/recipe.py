"""A recipe: passes and their options, as one line of text or a TOML file.

::

    fuse-batchnorm,equalize-cross-layer{iterations=3},insert-qdq

    name = "mine"                      # the same as a file
    [[passes]]
    pass = "fuse-batchnorm"
    [[passes]]
    pass = "equalize-cross-layer"
    iterations = 3
    [[passes]]
    pass = "insert-qdq"
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path

from onnxq.errors import OptionError, UnknownNameError
from onnxq.pipeline import registry
from onnxq.pipeline.base import Pass
from onnxq.pipeline.literals import Cursor
from onnxq.pipeline.named import RECIPES
from onnxq.pipeline.options import build, format_pass

Known = Mapping[str, type[Pass]]


@dataclass(frozen=True)
class Recipe:
    """Passes in the order in which they run.

    Attributes:
        passes: the passes, with their options.
        name: how people call it; not compared.
    """

    passes: tuple[Pass, ...]
    name: str = field(default="", compare=False)

    def __str__(self) -> str:
        """The recipe as text that ``parse`` reads back to an equal recipe."""
        return ",".join(format_pass(p) for p in self.passes)

    @classmethod
    def parse(cls, text: str, *, name: str = "", known: Known | None = None) -> Recipe:
        """Read ``pass,pass{option=value},…``; the name of a recipe stands for its passes.

        Args:
            text: the recipe.
            name: its name.
            known: pass classes by name; the registry's by default.

        Raises:
            UnknownNameError: a pass or an option that does not exist; the nearest are listed.
            OptionError: a value of the wrong type, or the text cannot be read.
        """
        cursor = Cursor(text)
        passes: list[Pass] = []
        while cursor.peek():
            pass_name = str(cursor.word("the name of a pass"))
            if known is None and pass_name in RECIPES:
                passes += cls.parse(RECIPES[pass_name]).passes
                if cursor.peek():
                    cursor.need(",")
                continue
            values: dict[str, object] = {}
            if cursor.take("{"):
                while not cursor.take("}"):
                    if values:
                        cursor.need(",")
                    option = str(cursor.word("an option"))
                    if option in values:
                        raise OptionError(f"'{pass_name}' is given '{option}' twice")
                    cursor.need("=")
                    values[option] = cursor.value()
            passes.append(build(_find(pass_name, known), values))
            if cursor.peek():
                cursor.need(",")
        if not passes:
            raise OptionError("the recipe is empty", hint="name at least one pass")
        return cls(tuple(passes), name)

    @classmethod
    def load(cls, path: str | PathLike[str], *, known: Known | None = None) -> Recipe:
        """Read a TOML file: ``passes`` is one text, or a list of texts and tables.

        Raises:
            UnknownNameError, OptionError: as ``parse``; a file that is missing or not TOML.
        """
        path = Path(path)
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise OptionError(f"recipe file '{path}' cannot be read", why=str(error)) from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise OptionError(f"recipe file '{path}' is not TOML", why=str(error)) from error
        for key in table:
            if key not in ("name", "passes"):
                raise UnknownNameError(f"key of recipe file '{path}'", key, ("name", "passes"))
        name, entries = table.get("name", path.stem), table.get("passes")
        if isinstance(entries, str):
            entries = [entries]
        if not isinstance(entries, list) or not entries or not isinstance(name, str):
            raise OptionError(
                f"recipe file '{path}': expected a list 'passes'",
                hint='passes = ["fuse-batchnorm", …]',
            )
        passes: list[Pass] = []
        for entry in entries:
            passes += _entry(entry, path, known)
        return cls(tuple(passes), name)

    @classmethod
    def resolve(cls, source: str | PathLike[str] | Recipe) -> Recipe:
        """A named recipe, a ``.toml`` file, or a text with passes; a recipe is returned as it is.

        Raises:
            UnknownNameError, OptionError: it is none of these.
        """
        if isinstance(source, Recipe):
            return source
        if not isinstance(source, str) or source.endswith(".toml"):
            return cls.load(source)
        if source in RECIPES:
            return cls.parse(RECIPES[source], name=source)
        if source not in registry.all_passes() and not set(source) & set(",{"):
            raise UnknownNameError("recipe or pass", source, (*RECIPES, *registry.all_passes()))
        return cls.parse(source)


def _find(name: str, known: Known | None) -> type[Pass]:
    if known is None:
        return registry.get(name)
    if name not in known:
        raise UnknownNameError("pass", name, known)
    return known[name]


def _entry(entry: object, path: Path, known: Known | None) -> tuple[Pass, ...]:
    """The passes of one entry of a recipe file."""
    if isinstance(entry, str):
        return Recipe.parse(entry, known=known).passes
    if isinstance(entry, dict) and isinstance(entry.get("pass"), str):
        values = {k: v for k, v in entry.items() if k != "pass"}
        return (build(_find(entry["pass"], known), values),)
    raise OptionError(
        f"recipe file '{path}': a pass is a text, or a table with the key 'pass'",
        hint='[[passes]]\npass = "fuse-batchnorm"',
    )
