"""The whole suite on every core; single files and tests in one process, which starts faster."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np
import pytest

_STATES: dict[str, Mapping[str, Any]] = {}
"""By name of a test module, where its generator RNG stood when it was imported."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Workers for ``-n auto``: one per core for the whole suite, none for what was named."""
    if config.args_source is pytest.Config.ArgsSource.ARGS:
        return 0
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest begins first, so that no core waits for it at the end."""
    items.sort(key=lambda item: item.path.name not in ("test_readme.py", "test_zoo.py"))


@pytest.fixture(autouse=True)
def the_same_numbers(request: pytest.FixtureRequest) -> None:
    """Each test draws what it would draw alone, in whatever order and process tests run."""
    module = request.node.getparent(pytest.Module)
    found = getattr(module.obj if module else None, "RNG", None)
    if isinstance(module and module.obj, ModuleType) and isinstance(found, np.random.Generator):
        bits = found.bit_generator
        bits.state = _STATES.setdefault(module.obj.__name__, bits.state)
