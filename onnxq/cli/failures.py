"""How a command ends: the exit code, and what the user reads when something is wrong."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from onnxq.errors import OnnxqError

INTERRUPTED = 130
"""The exit code after Ctrl-C: 128 and the number of the signal, as shells have it."""


def run(arguments: Sequence[str]) -> int:
    """Run the command line *arguments* and return the exit code."""
    debug = "--debug" in arguments
    try:
        from onnxq._versions import problem

        if (wrong := problem()) is not None:
            raise wrong
        from onnxq.cli.app import app

        app(list(arguments), prog_name="onnxq", standalone_mode=True)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except KeyboardInterrupt:
        sys.stderr.write("\nstopped\n")
        return INTERRUPTED
    except BrokenPipeError:
        # whoever read our output has gone; nothing is left to say, not even at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OnnxqError as error:
        if debug:
            _traceback()
        show(error)
        return error.exit_code
    except Exception as error:
        if debug:
            _traceback()
        else:
            text = " ".join(str(error).split())
            sys.stderr.write(
                f"onnxq: internal error: {type(error).__name__}: {text[:300]} "
                "(use --debug for the traceback)\n"
            )
        return 1
    return 0


def show(error: OnnxqError) -> None:
    """Write *error* to standard error: what happened, why, and what to try."""
    try:
        import rich  # noqa: F401
    except ImportError:  # it may be the very package that is missing
        parts = [error.message, error.why, error.hint and f"Try: {error.hint}"]
        sys.stderr.write("Error: " + "\n".join(part for part in parts if part) + "\n")
        return
    from rich.panel import Panel
    from rich.text import Text

    from onnxq.cli.console import err

    body = Text(error.message, style="bold")
    if error.why:
        body.append(f"\n{error.why}", style="not bold")
    if error.hint:
        body.append("\nTry: ", style="green")
        body.append(error.hint, style="not bold")
    err().print(Panel(body, title="Error", title_align="left", border_style="red"))


def _traceback() -> None:
    import traceback

    sys.stderr.write(traceback.format_exc())
