"""The ``onnxq`` command: one file per command. The only place that prints."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line of this process, and end the process with the exit code."""
    from onnxq.cli.failures import run

    sys.exit(run(sys.argv[1:]))
