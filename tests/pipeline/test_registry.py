from __future__ import annotations

import importlib.metadata
import sys
from types import ModuleType

import pytest

from onnxq.errors import OnnxqError, UnknownNameError
from onnxq.pipeline import registry
from tests.pipeline.support import Many


@pytest.fixture
def plugins(monkeypatch):
    """Installs entry points for the time of a test."""

    def install(**points: str) -> None:
        found = [
            importlib.metadata.EntryPoint(n.replace("_", "-"), v, registry.ENTRY_POINTS)
            for n, v in points.items()
        ]
        monkeypatch.setattr(registry, "entry_points", lambda group: found)
        registry.all_passes.cache_clear()

    yield install
    monkeypatch.undo()
    registry.all_passes.cache_clear()


def test_own_passes_are_found_and_ordered() -> None:
    found = registry.all_passes()
    assert {"fuse-batchnorm", "plan-kernels", "insert-qdq"} <= set(found)
    order = [(cls.stage, name) for name, cls in found.items()]
    assert order == sorted(order)
    assert all(cls.name == name for name, cls in found.items())


def test_unknown_pass_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="fuse-batchnorm"):
        registry.get("fuse-bathnorm")


def test_plugins_as_class_and_as_module(plugins, monkeypatch) -> None:
    plugins(many=f"{Many.__module__}:Many")
    assert registry.get("many") is Many
    module = ModuleType("plug")
    module.Copy = type(
        "Copy", (Many,), {"name": "copy", "__module__": "plug", "__doc__": "", "run": Many.run}
    )
    module.Imported = Many
    monkeypatch.setitem(sys.modules, "plug", module)
    plugins(plug="plug")
    assert registry.get("copy") is module.Copy
    assert "many" not in registry.all_passes()


@pytest.mark.parametrize(
    ("value", "part"),
    [
        ("no_such_module:Many", "cannot be loaded"),
        ("json:dumps", "neither a Pass nor a module"),
        ("onnxq.passes.fuse.fuse_batchnorm:FuseBatchNorm", None),
    ],
)
def test_broken_plugins_are_named(plugins, value, part) -> None:
    plugins(broken_one=value)
    if part is None:
        # the same class twice is no conflict
        assert "fuse-batchnorm" in registry.all_passes()
        return
    with pytest.raises(OnnxqError, match="broken-one") as caught:
        registry.all_passes()
    assert part in str(caught.value)


def test_each_of_our_passes_is_found_by_its_file() -> None:
    for name, cls in registry.all_passes().items():
        if cls.__module__.startswith("onnxq."):
            assert registry._filed(name) is cls and registry.get(name) is cls
    for name in ("no-such-pass", "fuse.batchnorm", "_linear", ""):
        with pytest.raises(UnknownNameError):
            registry.get(name)


def test_one_name_for_two_passes_is_refused(plugins, monkeypatch) -> None:
    module = ModuleType("plug")
    module.Other = type(
        "Other", (Many,), {"name": "insert-qdq", "__module__": "plug", "__doc__": ""}
    )
    monkeypatch.setitem(sys.modules, "plug", module)
    plugins(other="plug:Other")
    with pytest.raises(OnnxqError, match="two passes are called 'insert-qdq'") as caught:
        registry.all_passes()
    assert "plug.Other" in str(caught.value)
