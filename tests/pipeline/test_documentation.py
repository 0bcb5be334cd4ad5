from __future__ import annotations

import pytest

from onnxq.pipeline.documentation import SECTIONS, parse

PLAIN = """Do a thing.

    More of it.

    What it does
        One line
        and another.

    Why
        Because.

    Example::

        a → b
          c

    When it declines: never, for
        it cannot.

    Source
    ------
    Nobody (2020).

    Attributes:
        size: how large,
            at most.
        low, high (float): the ends.
    """


def test_sections_in_every_way_they_are_written() -> None:
    doc = parse(PLAIN)
    assert doc.summary == "Do a thing."
    assert doc.sections == {
        "What it does": "One line\nand another.",
        "Why": "Because.",
        "Example": "a → b\n  c",
        "When it declines": "never, for\nit cannot.",
        "Source": "Nobody (2020).",
    }
    assert doc.missing == ("Numerics",)
    assert doc.options == {"size": "how large, at most.", "low": "the ends.", "high": "the ends."}


@pytest.mark.parametrize("text", ["", "Only a summary.", "Why not write more?\n\nSource code."])
def test_prose_is_no_section(text: str) -> None:
    assert parse(text).missing == SECTIONS
