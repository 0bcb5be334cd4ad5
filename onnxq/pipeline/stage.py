"""The stages of the pipeline, in the order in which they run."""

from enum import IntEnum


class Stage(IntEnum):
    """What a pass is for; a recipe's passes are grouped and ordered by it."""

    CANONICALIZE = 1
    FUSE = 2
    EQUALIZE = 3
    PLAN = 4
    CORRECT = 5
    EMIT = 6
