"""Which passes exist: every module under ``onnxq.passes``, and plug-ins.

A plug-in is a package with an entry point in the group ``onnxq.passes`` that names a subclass of
``onnxq.pipeline.Pass``, or a module that holds some::

    [project.entry-points."onnxq.passes"]
    my-pass = "my_package.my_pass:MyPass"
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from functools import cache
from importlib.metadata import entry_points
from importlib.util import find_spec
from types import MappingProxyType, ModuleType

from onnxq.errors import OnnxqError, UnknownNameError
from onnxq.pipeline.base import Pass

ENTRY_POINTS = "onnxq.passes"


def get(name: str) -> type[Pass]:
    """The pass class called *name*.

    Raises:
        UnknownNameError: there is none; the nearest names are listed.
    """
    own = _filed(name)
    if own is not None:
        return own
    found = all_passes()
    if name not in found:
        raise UnknownNameError("pass", name, found)
    return found[name]


@cache
def _filed(name: str) -> type[Pass] | None:
    """Our pass called *name*, from the file of that name: the others need not be imported."""
    file = name.replace("-", "_")
    root = importlib.import_module("onnxq.passes")
    for stage in pkgutil.iter_modules(root.__path__, "onnxq.passes."):
        if stage.ispkg and file.isidentifier() and find_spec(f"{stage.name}.{file}") is not None:
            found = passes_in(importlib.import_module(f"{stage.name}.{file}"))
            return next((cls for cls in found if cls.name == name), None)
    return None


@cache
def all_passes() -> MappingProxyType[str, type[Pass]]:
    """Every pass class by name, ordered by stage and then by name.

    Raises:
        OnnxqError: a plug-in cannot be loaded, or two passes have one name.
    """
    found: dict[str, type[Pass]] = {}
    for cls in (*_own(), *_plugins()):
        other = found.setdefault(cls.name, cls)
        if other is not cls:
            raise OnnxqError(
                f"two passes are called '{cls.name}': {_place(other)} and {_place(cls)}",
                hint="rename the plug-in's pass, or uninstall the plug-in",
            )
    return MappingProxyType(dict(sorted(found.items(), key=lambda item: (item[1].stage, item[0]))))


def passes_in(module: ModuleType) -> Iterator[type[Pass]]:
    """The concrete pass classes that *module* itself defines."""
    for value in vars(module).values():
        if (
            inspect.isclass(value)
            and issubclass(value, Pass)
            and value.__module__ == module.__name__
            and not inspect.isabstract(value)
            and "name" in vars(value)
        ):
            yield value


def _own() -> Iterator[type[Pass]]:
    root = importlib.import_module("onnxq.passes")
    for info in sorted(pkgutil.walk_packages(root.__path__, "onnxq.passes."), key=lambda i: i.name):
        if not info.ispkg and not info.name.rsplit(".", 1)[1].startswith("_"):
            yield from passes_in(importlib.import_module(info.name))


def _plugins() -> Iterator[type[Pass]]:
    for point in sorted(entry_points(group=ENTRY_POINTS), key=lambda p: (p.name, p.value)):
        try:
            loaded = point.load()
        except Exception as error:
            raise OnnxqError(
                f"the plug-in '{point.name}' ({point.value}) cannot be loaded",
                why=f"{type(error).__name__}: {error}",
                hint="update or uninstall the package that brings it",
            ) from error
        if isinstance(loaded, ModuleType):
            yield from passes_in(loaded)
        elif inspect.isclass(loaded) and issubclass(loaded, Pass):
            yield loaded
        else:
            raise OnnxqError(
                f"the plug-in '{point.name}' ({point.value}) is neither a Pass nor a module"
            )


def _place(cls: type[Pass]) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
