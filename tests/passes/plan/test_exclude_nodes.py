from __future__ import annotations

import pytest

from onnxq.errors import OptionError, UnknownNameError
from onnxq.passes.plan.exclude_nodes import ExcludeNodes
from onnxq.passes.plan.plan_kernels import PlanKernels
from tests.passes.stages import run

TEXT = """g (float[1,3,4,4] x) => (float[1,3,4,4] y)
    <float[3,3,1,1] w, float[3,3,1,1] v, float[3,3,1,1] u>
    { [head] a = Conv (x, w)  [sig] s = Sigmoid (a)  [mid] b = Conv (s, v)
      [tail] y = Conv (b, u) }"""


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("head", ["head"]),
        ("*i*", ["sig", "mid", "tail"]),
        ("op:Sig*", ["sig"]),
        ("re:mid|tail", ["mid", "tail"]),
        ("from:s,to:b", ["mid"]),
        ("from:head,to:mid", ["head", "sig", "mid"]),
    ],
)
def test_patterns(pattern: str, names: list[str]) -> None:
    _, ctx = run(TEXT, [ExcludeNodes(patterns=(pattern,)), PlanKernels()])
    assert list(ctx.plan.excluded) == names
    for name in names:
        assert ctx.plan.kept_float[name] == f"excluded by '{pattern}'"
        assert name not in ctx.plan.nodes


def test_first_pattern_is_the_reason() -> None:
    _, ctx = run(TEXT, [ExcludeNodes(patterns=("mid", "op:Conv"))])
    assert ctx.plan.excluded == {
        "head": "excluded by 'op:Conv'",
        "mid": "excluded by 'mid'",
        "tail": "excluded by 'op:Conv'",
    }


@pytest.mark.parametrize(
    ("pattern", "part"),
    [
        ("haed", "head"),
        ("op:Sigmoyd", "Sigmoid"),
        ("re:hea", "head"),
        ("from:a,to:nothing", "nothing"),
    ],
)
def test_no_match_lists_the_nearest(pattern: str, part: str) -> None:
    with pytest.raises(UnknownNameError, match=part):
        run(TEXT, [ExcludeNodes(patterns=(pattern,))])


@pytest.mark.parametrize(
    ("pattern", "part"),
    [("re:(", "regular expression"), ("from:a", "no region"), ("from:b,to:a", "exchange")],
)
def test_unreadable(pattern: str, part: str) -> None:
    with pytest.raises(OptionError, match=part):
        run(TEXT, [ExcludeNodes(patterns=(pattern,))])
