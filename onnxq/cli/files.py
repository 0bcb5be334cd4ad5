"""Files that a command writes: checked before the work, written whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from onnxq.errors import OptionError, OutputError

REPORT_FORMATS = (".json",)


def check_output(path: Path, *, inputs: Iterable[Path | None] = ()) -> None:
    """Make sure that *path* can be written and is none of the *inputs*.

    Raises:
        OutputError: it cannot; says why.
    """
    if path.is_dir():
        raise OutputError(f"'{path}' is a folder", hint="name a file in it")
    folder = path.parent
    if not folder.is_dir():
        raise OutputError(f"the folder '{folder}' of '{path.name}' does not exist", hint="make it")
    for source in inputs:
        if source is not None and source.exists() and path.exists() and path.samefile(source):
            raise OutputError(f"'{path}' is an input of this command", hint="write to another name")
    try:
        # a file is replaced by renaming, so that it is the folder that must be writable
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".onnxq-"):
            pass
    except OSError as error:
        raise OutputError(f"'{path}' cannot be written", why=_reason(error)) from error
    if path.exists() and not os.access(path, os.W_OK):
        raise OutputError(f"'{path}' cannot be written", why="the file is read-only")


def check_report(path: Path) -> None:
    """As ``check_output``, and the extension must be that of a report format.

    Raises:
        OptionError: another extension.
        OutputError: the file cannot be written.
    """
    if path.suffix not in REPORT_FORMATS:
        raise OptionError(
            f"report '{path}': the extension says the format, and '{path.suffix}' is none",
            hint="a name that ends in " + " or ".join(REPORT_FORMATS),
        )
    check_output(path)


def write_report(report: Mapping[str, object], path: Path) -> None:
    """Write *report* to *path* in the format of its extension.

    Raises:
        OutputError: the disk refuses.
    """
    text = json.dumps(report, indent=2, ensure_ascii=False) + "\n"
    replace_file(path, lambda part: part.write_text(text, encoding="utf-8"))


def named(reports: Sequence[Path]) -> dict[str, Path]:
    """Reports as the terminal lists them."""
    if len(reports) == 1:
        return {"report": reports[0]}
    return {f"report {i}": path for i, path in enumerate(reports, 1)}


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Let *write* fill a file beside *path*, then give it that name.

    Raises:
        OutputError: the disk refuses; nothing partial is left.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        write(part)
        part.replace(path)
    except OSError as error:
        raise OutputError(f"'{path}' cannot be written", why=_reason(error)) from error
    finally:
        part.unlink(missing_ok=True)


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
