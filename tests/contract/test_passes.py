"""Every pass that is registered keeps the contract, on every small model."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from onnxq.pipeline import Pass, Stage
from onnxq.pipeline.named import RECIPES
from onnxq.pipeline.recipe import Recipe
from onnxq.pipeline.registry import all_passes
from onnxq.testing import check_declaration, check_pass
from tests.contract.models import NAMES, build

ROOT = Path(__file__).parents[2]
OWN = {n: c for n, c in all_passes().items() if c.__module__.startswith("onnxq.")}
EXAMPLES: dict[str, dict[str, object]] = {
    "override-tensors": {"file": str(Path(__file__).with_name("overrides.toml"))},
}
"""Options for passes that do nothing sensible without any."""


def make(name: str) -> Pass:
    return all_passes()[name](**EXAMPLES.get(name, {}))


def prepared(pass_: Pass) -> tuple[Pass, ...]:
    """What the recipe 'fast' runs before *pass_*: what earlier stages do, and its own stage up
    to itself. Rewriting passes run on the model as it is."""
    if pass_.stage < Stage.PLAN:
        return ()
    found: list[Pass] = []
    for other in Recipe.parse(RECIPES["fast"]).passes:
        if other.stage > pass_.stage or other.name == pass_.name:
            break
        found.append(other)
    return tuple(found)


@pytest.mark.parametrize("model", NAMES)
@pytest.mark.parametrize("name", all_passes())
def test_contract(name: str, model: str) -> None:
    pass_ = make(name)
    check_pass(pass_, build(model), prepare=prepared(pass_))


@pytest.mark.parametrize("name", all_passes())
def test_declaration(name: str) -> None:
    check_declaration(make(name))


@pytest.mark.parametrize("name", OWN)
def test_one_pass_a_file_and_a_golden_test(name: str) -> None:
    cls = OWN[name]
    spec = importlib.util.find_spec(cls.__module__)
    assert spec is not None and spec.origin is not None
    *_, folder, module = cls.__module__.split(".")
    assert module == name.replace("-", "_"), f"'{name}' lives in {module}.py"
    others = [n for n, c in OWN.items() if c.__module__ == cls.__module__]
    assert others == [name]
    assert (ROOT / "tests" / "passes" / folder / f"test_{module}.py").is_file()
    folders = {
        Stage.CANONICALIZE: "canonical", Stage.FUSE: "fuse", Stage.EQUALIZE: "equalize",
        Stage.PLAN: "plan", Stage.CORRECT: "correct", Stage.EMIT: "emit",
    }  # fmt: skip
    assert folders[cls.stage] == folder


@pytest.mark.parametrize("name", RECIPES)
def test_named_recipes_read_back(name: str) -> None:
    recipe = Recipe.parse(RECIPES[name])
    assert Recipe.parse(str(recipe)) == recipe
