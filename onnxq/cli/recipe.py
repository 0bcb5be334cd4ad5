"""``onnxq recipe``: what a recipe consists of."""

from __future__ import annotations

from typing import Annotated

import typer

from onnxq.cli.options import AsJson, Debug


def recipe(
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="[RECIPE]", help="A name, a TOML file, or 'pass,pass{option=value}'."
        ),
    ] = None,
    toml: Annotated[
        bool, typer.Option("--toml", metavar="", help="As a TOML file, to be changed and used.")
    ] = False,
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """List the named recipes, or show the passes of one."""
    from onnxq.cli.console import out, write_json
    from onnxq.pipeline import Recipe
    from onnxq.pipeline.named import RECIPES
    from onnxq.pipeline.options import format_pass, options_of

    if source is None:
        found = {name: Recipe.resolve(name) for name in RECIPES}
    else:
        one = Recipe.resolve(source)
        found = {one.name or "recipe": one}
    if json:
        write_json({n: [format_pass(p) for p in r.passes] for n, r in found.items()})
        return
    if toml:
        typer.echo("\n".join(to_toml(name, r) for name, r in found.items()), nl=False)
        return
    from rich.table import Table
    from rich.text import Text

    from onnxq.pipeline.literals import format_value

    for name, each in found.items():
        table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 2))
        stage = ""
        for p in each.passes:
            shown = "" if p.stage.name == stage else p.stage.name.lower()
            stage = p.stage.name
            values = (f"{o}={format_value(getattr(p, o))}" for o in options_of(type(p)))
            table.add_row(Text(shown, style="cyan"), Text(p.name), Text(" ".join(values), "dim"))
        out().print(Text(name, style="bold"))
        out().print(table)


def to_toml(name: str, recipe_: object) -> str:
    """A recipe as the text of a TOML file that ``Recipe.load`` reads back."""
    from json import dumps

    from onnxq.pipeline import Recipe
    from onnxq.pipeline.options import format_pass

    assert isinstance(recipe_, Recipe)
    lines = [f"name = {dumps(name)}", "passes = ["]
    # JSON strings are TOML strings
    lines += [f"    {dumps(format_pass(p), ensure_ascii=False)}," for p in recipe_.passes]
    return "\n".join([*lines, "]\n"])
