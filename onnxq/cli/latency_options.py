"""Options of several commands on what a run takes."""

from __future__ import annotations

from typing import Annotated

import typer

from onnxq.cli.options import _WHERE

CostsFrom = Annotated[
    str,
    typer.Option(
        "--costs", metavar="SOURCE", rich_help_panel=_WHERE,
        help="Where costs of kernels come from: target (a table), or measured: this machine, "
        "once, up to half a minute.",
    ),
]  # fmt: skip
Threads = Annotated[
    int | None,
    typer.Option(
        "--threads", metavar="N", min=1, rich_help_panel=_WHERE,
        help="Threads of a run, for what is measured; default: one for costs, all cores for "
        "latencies.",
    ),
]  # fmt: skip
LatencyAware = Annotated[
    bool,
    typer.Option(
        "--latency-aware", rich_help_panel=_WHERE,
        help="Leave in float what is predicted to be slower on integers.",
    ),
]  # fmt: skip
