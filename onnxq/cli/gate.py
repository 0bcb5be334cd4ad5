"""``onnxq gate``: whether a report meets conditions; the check of a deployment pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from onnxq.cli.options import AsJson, Debug, Quiet


def gate(
    report: Annotated[Path, typer.Argument(metavar="REPORT.json", help="The report.")],
    min_sqnr: Annotated[
        float | None, typer.Option(metavar="DB", help="Least SQNR of every output, dB.")
    ] = None,
    max_metric_drop: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="Most that a metric of the report may fall; without one, percent of samples "
            "whose top-1 class changes.",
        ),
    ] = None,
    min_coverage: Annotated[
        float | None,
        typer.Option(metavar="PERCENT", help="Least part of the compute that runs on integers."),
    ] = None,
    max_size: Annotated[
        float | None, typer.Option(metavar="PERCENT", help="Largest size, of the float model's.")
    ] = None,
    min_layer_sqnr: Annotated[
        float | None, typer.Option(metavar="DB", help="Least SQNR of every layer alone, dB.")
    ] = None,
    quiet: Quiet = False,
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Check a report; the exit code is 4 where a condition is not met."""
    from onnxq.cli.console import out, write_json
    from onnxq.cli.files import read_report
    from onnxq.errors import ConditionError, OptionError
    from onnxq.report.gate import Conditions
    from onnxq.report.gate import gate as check
    from onnxq.report.headline import applied_by

    wanted = Conditions(
        min_sqnr=min_sqnr, max_metric_drop=max_metric_drop, min_coverage=min_coverage,
        max_size=max_size, min_layer_sqnr=min_layer_sqnr,
    )  # fmt: skip
    if not wanted.any:
        raise OptionError("nothing is required of the report", hint="--min-sqnr 20, for example")
    found = read_report(report)
    checks = check(found, wanted)
    failed = [c for c in checks if not c.passed]
    if json:
        write_json({
            "passed": not failed,
            "checks": [vars(c) | {"passed": c.passed} for c in checks],
        })  # fmt: skip
    if failed:
        failed.sort(key=lambda c: abs(c.found - c.limit), reverse=True)
        more = f"; and {len(failed) - 5} more" if len(failed) > 5 else ""
        command = applied_by(found, str(report))
        hint = (
            f"the report's recommendation: {command}" if command else "--recipe best, or onnxq tune"
        )
        raise ConditionError(
            f"{len(failed)} of {len(checks)} conditions on '{report.name}' are not met",
            why="; ".join(map(str, failed[:5])) + more,
            hint=hint,
        )
    if not quiet and not json:
        few = "; ".join(map(str, checks[:3])) + (" …" if len(checks) > 3 else "")
        out().print(f"passed: {few}", highlight=False, markup=False)
