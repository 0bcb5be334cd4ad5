"""Functions of the user's, named as ``package.module:function``."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from onnxq.errors import DataError


def load_function(text: str, what: str) -> Callable[..., Any]:
    """The function that *text* names; *what* is what it is for.

    Raises:
        DataError: it cannot be imported, or is no function.
    """
    module, _, name = text.partition(":")
    here = str(Path.cwd())
    sys.path.insert(0, here)  # as `python -m` does, so that a script beside the user is found
    try:
        function = getattr(importlib.import_module(module), name)
    except Exception as error:
        raise DataError(
            f"{what} function '{text}' cannot be imported", why=f"{type(error).__name__}: {error}"
        ) from error
    finally:
        sys.path.remove(here)
    if not callable(function):
        raise DataError(f"'{text}' is no function")
    return function  # type: ignore[no-any-return]
