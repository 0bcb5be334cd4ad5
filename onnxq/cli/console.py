"""Where the command line writes: results to standard output, all else to standard error."""

from __future__ import annotations

import json
import sys

from rich.console import Console


def out() -> Console:
    """The console for results."""
    return Console(highlight=False)


def err() -> Console:
    """The console for progress, warnings and errors."""
    return Console(stderr=True, highlight=False)


def write_json(value: object) -> None:
    """Write *value* as JSON to standard output, and nothing else."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
