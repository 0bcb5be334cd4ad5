"""The ``onnxq`` command: one file per command. The only place that prints."""

from __future__ import annotations

import contextlib
import gc
import os
import sys


def main() -> None:
    """Run the command line of this process, and end the process with the exit code."""
    # products here are small and run on threads of our own: those of BLAS would mostly spin and
    # wait, for a third of best's time; numpy reads this when it is imported
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

    # modules and graphs are many objects that stay: to look through them for garbage as often as
    # Python does by default costs 0.05 s and more
    gc.set_threshold(10_000)

    from onnxq.cli.failures import run

    code = run(sys.argv[1:])
    if sys.gettrace() is not None or sys.getprofile() is not None:
        sys.exit(code)  # a debugger or a profiler wants to see the end
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)  # everything is written: taking models and libraries down costs 0.2 s
