"""Files that a command writes: checked before the work, written whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from onnxq.errors import DataError, OptionError, OutputError

REPORT_FORMATS = (".json", ".html", ".md", ".xml")


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


def write_report(report: Mapping[str, Any], path: Path) -> None:
    """Write *report* to *path* in the format of its extension.

    Raises:
        OutputError: the disk refuses.
    """
    write_text(_rendered(report, path.suffix), path)


def write_text(text: str, path: Path) -> None:
    """Write *text* to *path* in UTF-8, whole or not at all.

    Raises:
        OutputError: the disk refuses.
    """
    replace_file(path, lambda part: part.write_text(text, encoding="utf-8"))


def read_report(path: Path) -> dict[str, Any]:
    """The JSON report in *path*.

    Raises:
        DataError: there is none, or it is no report.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"no such report: {path}", why=_reason(error)) from error
    except ValueError as error:
        raise DataError(f"{path} is no JSON file", why=str(error)) from error
    schema = found.get("schema") if isinstance(found, dict) else None
    if schema != "onnxq-report/1":
        raise DataError(
            f"{path} is no report of onnxq",
            why=f"its schema is {schema!r}, not 'onnxq-report/1'",
            hint="onnxq quantize … --report REPORT.json writes one",
        )
    return dict(found)


def _rendered(report: Mapping[str, Any], suffix: str) -> str:
    if suffix == ".html":
        from onnxq.report.html import to_html

        return to_html(report)
    if suffix == ".md":
        from onnxq.report.markdown import to_markdown

        return to_markdown(report)
    if suffix == ".xml":
        from onnxq.report.junit import to_junit

        return to_junit(report)
    return json.dumps(report, indent=2, ensure_ascii=False) + "\n"


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
