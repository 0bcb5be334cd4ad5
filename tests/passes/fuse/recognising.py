# ruff: noqa: E501 - graphs read best with a node on one line
"""What the tests of the recognisers share: constants, and the checks of a body between x and y."""

from __future__ import annotations

from onnxq.pipeline import Pass
from onnxq.pipeline.groups import Group
from tests.passes.golden import check, context

CONSTANTS = """<float c3 = {3}, float c0 = {0}, float c6 = {6}, float sixth = {0.16666667}, float one = {1},
  float half = {0.5}, float root2 = {1.41421356}, float r2 = {0.70710678}, float two = {2},
  float cube = {3}, float k = {0.044715}, float p = {0.7978846}, float q = {1.702}, float eps = {0.00001},
  float[8] g, float[8] b>"""


def found(pass_: Pass, body: str) -> list[Group]:
    """The groups that *pass_* finds in *body*, statements two spaces apart, from x to y."""
    ctx = context()
    check(
        pass_,
        f"""g (float[2,8] z) => (float[2,8] w) {CONSTANTS}
        {{ [in] x = Neg(z)  {named(body)}  [out] w = Neg(y) }}""",
        ctx=ctx,
        run=False,
    )
    return ctx.groups


def matches(pass_: Pass, kind: str, body: str, count: int) -> None:
    """*body* is one group of *kind* with *count* nodes, from x to y."""
    (group,) = found(pass_, body)
    assert (group.kind, group.input, group.output) == (kind, "x", "y")
    assert len(group.nodes) == count
    assert group.nodes[-1] == "n_y"
    assert not {"in", "out"} & set(group.nodes)


def leaks(pass_: Pass, body: str, inner: str, anchor: str) -> None:
    """The group around *anchor* is declined because *inner* is read outside."""
    ctx = context()
    check(
        pass_,
        f"""g (float[2,8] z) => (float[2,8] w, float[A,B] v) {CONSTANTS}
        {{ x = Neg(z)  {named(body)}  [leak] v = Exp({inner})  w = Neg(y) }}""",
        ctx=ctx,
        declines=[(f"n_{anchor}", f"'{inner}' inside of it is read by 'leak' too")],
    )
    assert not ctx.groups


def named(body: str) -> str:
    """*body* with each node called after its output."""
    parts = [t.strip() for t in body.replace("\n", "  ").split("  ")]
    return "  ".join(f"[n_{t.split(' =')[0]}] {t}" for t in parts if t)
