"""``onnxq diff``: what got better or worse between two reports."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from onnxq.cli.options import AsJson, Debug, Quiet


def diff(
    before: Annotated[Path, typer.Argument(metavar="A.json", help="The earlier report.")],
    after: Annotated[Path, typer.Argument(metavar="B.json", help="The later report.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Markdown (.md).")
    ] = None,
    quiet: Quiet = False,
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Show what got better or worse between two reports, layer by layer."""
    from onnxq.cli.console import out, write_json
    from onnxq.cli.files import check_output, read_report, write_text
    from onnxq.errors import OptionError
    from onnxq.report.diff import diff as compare

    if output is not None:
        if output.suffix != ".md":
            raise OptionError(f"'{output}' is no Markdown file", hint="a name that ends in .md")
        check_output(output, inputs=[before, after])
    found = compare(read_report(before), read_report(after))
    if output is not None:
        from onnxq.report.diff_text import to_markdown

        write_text(to_markdown(found), output)
    if json:
        write_json(found.to_json())
    elif not quiet:
        from onnxq.report.diff_text import render

        render(found, out())
