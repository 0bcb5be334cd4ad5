from __future__ import annotations

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxq.errors import OptionError, UnknownNameError
from onnxq.pipeline.options import describe, options_of
from onnxq.pipeline.recipe import Recipe
from onnxq.quant import dtype
from tests.pipeline.support import Many, Method

KNOWN = {"many": Many}


def parse(text: str) -> Many:
    (found,) = Recipe.parse(text, known=KNOWN).passes
    assert isinstance(found, Many)
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("many", Many()),
        ("many{}", Many()),
        ("many{count=7}", Many(count=7)),
        ("many{count=0x10}", Many(count=16)),
        ("many{ratio=1e-3}", Many(ratio=1e-3)),
        ("many{ratio=2}", Many(ratio=2.0)),
        ("many{flag=true}", Many(flag=True)),
        ("many{flag=no}", Many(flag=False)),
        ("many{text=word}", Many(text="word")),
        ('many{text="a, b}"}', Many(text="a, b}")),
        ("many{text='it''}", None),
        ("many{text=8}", Many(text="8")),
        ("many{method=two-fold}", Many(method=Method.TWO)),
        ("many{method=TWO}", Many(method=Method.TWO)),
        ("many{kind=channel}", Many(kind="channel")),
        ("many{sizes=[1,2]}", Many(sizes=(1, 2))),
        ("many{sizes=(1,)}", Many(sizes=(1,))),
        ("many{sizes=[]}", Many(sizes=())),
        ("many{names=[a,'b c']}", Many(names=["a", "b c"])),
        ("many{pair=(0,6.5)}", Many(pair=(0.0, 6.5))),
        ("many{pair=none}", Many()),
        ("many{either=3}", Many(either=3)),
        ('many{either="3"}', Many(either="3")),
        ("many{dtype=uint4}", Many(dtype=dtype("uint4"))),
        (" many { count = 7 , flag = true } ", Many(count=7, flag=True)),
    ],
)
def test_syntax(text: str, expected: Many | None) -> None:
    if expected is None:
        with pytest.raises(OptionError):
            parse(text)
    else:
        assert parse(text) == expected
        assert parse(str(Recipe((expected,)))) == expected


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("mani", ["unknown pass 'mani'", "Try: many"]),
        ("many{cuont=1}", ["unknown option of 'many' 'cuont'", "did you mean count", "ratio"]),
        (
            "many{count=lots}",
            ["option 'count' of 'many'", "expected int", "given lots", "how many"],
        ),
        ("many{count=1.5}", ["expected int", "1.5"]),
        ("many{flag=1}", ["expected bool", "given 1"]),
        ("many{method=three}", ["one of one, two-fold", "three"]),
        ("many{kind=block}", ["one of tensor, channel", "block"]),
        ("many{sizes=[1,x]}", ["list of int"]),
        ("many{sizes=3}", ["list of int", "3"]),
        ("many{pair=(1,2,3)}", ["(float, float) or none"]),
        ("many{dtype=int99}", ["unknown number format 'int99'"]),
        ("many{count=1,count=2}", ["twice"]),
        ("many{count=1", ["expected ','", "the end"]),
        ("many{count}", ["expected '='"]),
        ("many many", ["expected ','"]),
        ("many{text='open}", ["not closed"]),
        ("", ["empty"]),
    ],
)
def test_errors_say_what_is_expected(text: str, parts: list[str]) -> None:
    with pytest.raises(OptionError) as caught:
        parse(text)
    for part in parts:
        assert part in str(caught.value)


TEXT = st.text(alphabet=string.printable, max_size=12)


@settings(deadline=None)
@given(
    st.builds(
        Many,
        count=st.integers(),
        ratio=st.floats(allow_nan=False),
        flag=st.booleans(),
        text=TEXT,
        method=st.sampled_from(Method),
        kind=st.sampled_from(["tensor", "channel"]),
        sizes=st.lists(st.integers(), max_size=3).map(tuple),
        names=st.lists(TEXT, max_size=3),
        pair=st.none() | st.tuples(st.floats(allow_nan=False), st.floats(allow_nan=False)),
        either=st.integers() | TEXT,
        dtype=st.sampled_from(["int8", "uint4", "int7"]).map(dtype),
    )
)
def test_text_round_trip(many: Many) -> None:
    assert parse(str(Recipe((many,)))) == many


def test_names_of_recipes_stand_for_their_passes() -> None:
    whole = Recipe.resolve("remove-noops,fast,remove-unused")
    names = [p.name for p in whole.passes]
    assert names == ["remove-noops", *(p.name for p in Recipe.resolve("fast").passes),
                     "remove-unused"]  # fmt: skip


def test_file(tmp_path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'passes = ["many{count=1},many", {pass = "many", sizes = [1, 2], ratio = 2}]', "utf-8"
    )
    recipe = Recipe.load(path, known=KNOWN)
    assert recipe.name == "mine"
    assert recipe.passes == (Many(count=1), Many(), Many(sizes=(1, 2), ratio=2.0))


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("passes = [", "not TOML"),
        ("passes = []", "expected a list"),
        ("stages = 3", "unknown key"),
        ('passes = [{name = "many"}]', "key 'pass'"),
        ('passes = [{pass = "many", count = "3"}]', 'expected int, given "3" (text)'),
        ('passes = [{pass = "many", flag = 1}]', "expected bool, given 1 (int)"),
    ],
)
def test_file_errors(tmp_path, content: str, part: str) -> None:
    path = tmp_path / "r.toml"
    path.write_text(content, "utf-8")
    with pytest.raises(OptionError) as caught:
        Recipe.load(path, known=KNOWN)
    assert part in str(caught.value)


def test_missing_file(tmp_path) -> None:
    with pytest.raises(OptionError, match="cannot be read"):
        Recipe.load(tmp_path / "no.toml")


def test_resolve_names_what_there_is() -> None:
    with pytest.raises(UnknownNameError, match="recipe or pass 'no-such-recipe'"):
        Recipe.resolve("no-such-recipe")
    recipe = Recipe((Many(),))
    assert Recipe.resolve(recipe) is recipe


def test_options_have_types_and_help() -> None:
    options = options_of(Many)
    assert options["count"].help == "how many of them."
    assert options["ratio"].help == "a share."
    assert options["count"].default_text == "3"
    assert describe(tuple[int, ...]) == "list of int"
    assert options["pair"].type_text == "(float, float) or none"
