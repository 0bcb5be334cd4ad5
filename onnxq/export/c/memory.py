"""Where values lie in static memory: those that are never alive together share it.

Values are placed from the largest to the smallest, each at the lowest offset that is free while
it is alive ("greedy by size", as Pisarchyk and Lee describe it for mobile inference, 2020). There
is one arena for each element type, because C forbids to use an object of one as another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from onnxq.integer.kinds import Reshape
from onnxq.integer.program import Program, Step

#: The arena of a type; int8 and uint8 may share memory.
ARENAS = {"int8": "int8", "uint8": "int8", "int16": "int16", "uint16": "int16", "int32": "int32"}


@dataclass(frozen=True)
class Memory:
    """A plan of static memory.

    Attributes:
        places: for each value that a step writes, the element type of its arena and its offset in
            elements.
        aliases: for each value that is another one in another shape, that one.
        sizes: elements of each arena.
    """

    places: Mapping[str, tuple[str, int]]
    aliases: Mapping[str, str]
    sizes: Mapping[str, int]

    @property
    def bytes(self) -> int:
        """Bytes of all arenas."""
        return sum(n * np.dtype(t).itemsize for t, n in self.sizes.items())


def aliases_input(program: Program, step: Step) -> bool:
    """Whether the output of *step* is its input, element by element."""
    source, target = program.values[step.inputs[0]], program.values[step.output]
    same = source.dtype == target.dtype and step.plain
    unclipped = step.low <= source.low and source.high <= step.high
    return isinstance(step.kind, Reshape) and same and unclipped


def plan(program: Program) -> Memory:
    """Static memory for one frame of *program*; inputs lie with the caller."""
    aliases: dict[str, str] = {}
    born: dict[str, int] = {}
    dies: dict[str, int] = {}
    for i, step in enumerate(program.steps):
        for name in step.inputs:
            dies[aliases.get(name, name)] = i
        if aliases_input(program, step):
            source = step.inputs[0]
            aliases[step.output] = aliases.get(source, source)
        else:
            born[step.output] = dies[step.output] = i
    for name in program.outputs.values():  # copied out at the end
        dies[aliases.get(name, name)] = len(program.steps)
    places: dict[str, tuple[str, int]] = {}
    sizes: dict[str, int] = {}
    for name in sorted(born, key=lambda n: (-program.values[n].size, born[n])):
        value = program.values[name]
        arena = ARENAS[value.dtype]
        taken = sorted(
            (places[o][1], program.values[o].size)
            for o in places
            if places[o][0] == arena and born[o] <= dies[name] and born[name] <= dies[o]
        )
        offset = 0
        for start, size in taken:
            if offset + value.size <= start:
                break
            offset = max(offset, start + size)
        places[name] = arena, offset
        sizes[arena] = max(sizes.get(arena, 0), offset + value.size)
    return Memory(places, aliases, sizes)
