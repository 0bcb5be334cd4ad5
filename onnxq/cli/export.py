"""``onnxq export``: a quantized model as C, as data for hardware, or as another tool's scales."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from onnxq.cli.options import AsJson, Debug, ModelFile, Quiet


def export(
    model: ModelFile,
    to: Annotated[
        str,
        typer.Option(
            metavar="FORMAT",
            help="c, manifest (JSON, .npy, .mem, .coe, .h), or scales for: tensorrt, aimet, ppq.",
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder; made where absent.")
    ],
    data: Annotated[
        str | None,
        typer.Option(metavar="DATA", help="Samples for golden vectors; without it drawn codes."),
    ] = None,
    preprocess: Annotated[
        str | None, typer.Option(metavar="S", help="For images, as in 'quantize'.")
    ] = None,
    frames: Annotated[
        int, typer.Option(metavar="N", min=1, help="Golden frames; large inputs take fewer.")
    ] = 4,
    quiet: Quiet = False,
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Write a model as integer-only C or a manifest, or its scales for another tool.

    'onnxq quantize … --target fpga-pow2' (or mcu-int8) makes a model for C. 'tensorrt' writes a
    calibration cache and a QDQ model, 'aimet' and 'ppq' JSON and the float model; 'quantize
    --overrides' reads all three.
    """
    from onnxq.cli.console import out, write_json
    from onnxq.export.export import export as write
    from onnxq.graph import Model

    loaded = Model.load(model)
    source = None
    if data is not None:
        from onnxq.calibrate.sources import open_data
        from onnxq.runtime.session import Session

        inputs = Session(loaded.to_proto(), optimize=False).inputs
        source = open_data(data, inputs, preprocess)
    found = write(loaded, to, output, samples=source, frames=frames)
    facts: dict[str, object] = {"folder": str(found.folder)}
    if found.program is not None:
        facts |= {
            "layers": len(found.program.steps), "rounding": found.program.rounding.value,
            "golden_frames": found.frames,
        }  # fmt: skip
    if found.source is not None:
        facts["static_ram_bytes"] = found.source.ram
        facts["constant_bytes"] = found.source.constants
        facts["lines"] = found.source.lines
    if json:
        write_json({"schema": "onnxq-export/1", "model": model.name, "to": to, **facts})
    elif not quiet:
        for key, value in facts.items():
            text = f"{value:,}" if isinstance(value, int) else str(value)
            out().print(f"{key.replace('_', ' '):18}{text}", markup=False)
