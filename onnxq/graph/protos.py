"""Small helpers for protobuf messages."""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeVar

from google.protobuf.message import Message  # type: ignore[import-untyped]

M = TypeVar("M", bound=Message)


def copy_fields(source: M, target: M, skip: Collection[str] = ()) -> M:
    """Copy every field that is present in *source*, except *skip*, into *target*; return that.

    Unlike ``CopyFrom`` and ``ClearField`` this never holds a second copy of what is skipped.
    """
    for field, value in source.ListFields():
        if field.name in skip:
            continue
        if hasattr(value, "extend"):
            getattr(target, field.name).extend(value)
        elif isinstance(value, Message):
            getattr(target, field.name).CopyFrom(value)
        else:
            setattr(target, field.name, value)
    return target


def present(message: Message) -> set[str]:
    """Names of the fields that are present in *message*."""
    return {field.name for field, _ in message.ListFields()}
