"""Samples of a model with states: what a step gives out is fed back into the next one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxq.calibrate.sources import DataSource, Feed
from onnxq.errors import DataError, OptionError, UnknownNameError
from onnxq.runtime.session import InputInfo, Session

States = Mapping[str, str]
"""By input, the output that it is fed in the step after."""


def parse_states(texts: Iterable[str]) -> dict[str, str]:
    """``OUT:IN`` pairs as states.

    Raises:
        OptionError: a text of another form, or an input that is named twice.
    """
    found: dict[str, str] = {}
    for text in texts:
        output, colon, into = text.rpartition(":")
        if not (output and colon and into):
            raise OptionError(f"--state {text}", hint="OUT:IN, such as --state stateN:state")
        if into in found:
            raise OptionError(f"two outputs are fed into the input '{into}'")
        found[into] = output
    return found


def stateful(
    opened: Callable[[Sequence[InputInfo]], DataSource], session: Session, states: States
) -> DataSource:
    """The samples of a source as steps of one sequence, with what *states* hold at each.

    A state begins as zeros, and is then what *session*, the float model, gave out. Free dimensions
    are those of the same name in the step; else 0 where the output's has another name, as that of a
    cache that grows, and else 1. The samples with their states are kept in a
    temporary file, so the sequence is run once.

    Args:
        opened: opens the source for the inputs that are no states.
        session: the float model.
        states: by input, the output that it is fed.

    Raises:
        UnknownNameError: an input or output that the model does not have.
        DataError: the data do not fit, or the model fails on a step.
    """
    inputs = {i.name: i for i in session.inputs}
    outputs = {o.name: o for o in session.outputs}
    for into, output in states.items():
        if into not in inputs:
            raise UnknownNameError("input", into, inputs)
        if output not in outputs:
            raise UnknownNameError("output", output, outputs)
    base = opened([i for i in session.inputs if i.name not in states])

    def begin(first: int) -> Iterator[Feed]:
        assert not first, "the source is stored: later passes do not begin here"
        held: Feed = {}
        for step in base:
            held = held or {
                into: _zeros(inputs[into], outputs[output], step, inputs)
                for into, output in states.items()
            }
            feed = {**step, **held}
            yield feed
            found = session.run(feed, sorted(set(states.values())))
            held = {into: found[output] for into, output in states.items()}

    return DataSource(f"{base.origin}, with states", session.inputs, begin, base.length, False)


def closed_loop(
    session: Session, feeds: Iterable[Feed], states: States
) -> Iterator[dict[str, NDArray[Any]]]:
    """Outputs at each step where the model is fed its own states; the first ones as in *feeds*."""
    held: Feed = {}
    for feed in feeds:
        found = session.run({**feed, **held})
        yield found
        held = {into: found[output] for into, output in states.items()}


def _zeros(
    info: InputInfo, after: InputInfo, step: Feed, inputs: Mapping[str, InputInfo]
) -> NDArray[Any]:
    """What the state *info* begins with; *after* is the output that it is fed."""
    if info.shape is None or info.dtype is None:
        raise DataError(
            f"the state '{info.name}' has no rank in the model", hint="state its shape there"
        )
    sizes = {
        d: given
        for name, x in step.items()
        for d, given in zip(inputs[name].shape or (), x.shape, strict=False)
        if isinstance(d, str)
    }
    later = after.shape if after.shape and len(after.shape) == len(info.shape) else info.shape
    shape = [
        d if isinstance(d, int) else sizes.get(d or "", int(d == end))
        for d, end in zip(info.shape, later, strict=True)
    ]
    return np.zeros(shape, info.dtype)
