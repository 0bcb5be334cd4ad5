"""onnxq beside other quantizers, files of all taking turns; writes ``peers.json``.

::

    python -m venv ENV && ENV/bin/pip install nncf==3.4.0 onnxsim==0.8.1 amd-quark==0.13 torch
    ENV/bin/pip install onnxruntime==1.31.1
    python tests/bench/peers.py --python ENV/bin/python                  # four networks
    python tests/bench/peers.py --python ENV/bin/python squeezenet1.1    # one

The peers live in an environment of their own, for they ask for other versions of what onnxq needs;
one that is missing there is named as such. Every quantizer runs as a process, of which time and
memory are measured. Speeds are those of all files in turn, in one process: on one and on two
threads, with this processor's instructions and, where later ones can be hidden
(``without_vnni.py``), with AVX2 alone. What ``peers.json`` has of other processors is kept.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compare import (
    ONNXQ,
    Setting,
    entries,
    in_turns,
    machine,
    measured,
    required,
    scored,
    zoo_program,
)
from process import run
from without_vnni import hiding

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "peers.json"
NETWORKS = ("squeezenet1.1", "mobilenetv2", "cifar_resnet20", "yolox_nano")
THREADS = (1, 2)


@dataclass(frozen=True)
class Peer(Setting):
    """A quantizer of the other environment, whose interpreter is *python*."""

    python: str = sys.executable

    def command(self, model: Path, data: Path, out: Path) -> list[str | Path]:
        return [self.python, HERE / "peer_tools.py", model, data, out, *self.arguments]


def settings(python: str, repeat: int) -> list[Setting]:
    """Everything that is compared."""
    ours = [
        Setting("onnxq", recipe, ("--recipe", recipe, "--target", "x86"), repeat)
        for recipe in ("fast", "balanced", "best")
    ]
    return [
        Setting("onnxruntime", "U8S8 per channel, reduced range", ("u8s8",), repeat),
        Peer("NNCF", "its default", ("nncf",), repeat, python),
        Peer("onnxsim", "whole graph, automatic ranges, reduced range", ("onnxsim",), 1, python),
        Peer("Quark", "U8S8_AAWS", ("quark",), 1, python),
        *ours,
    ]


def compare(
    name: str,
    given: Sequence[Setting],
    absent: Mapping[str, str],
    hide: Mapping[str, str] | None,
    folder: Path,
) -> dict[str, Any]:
    """All of *given* on the network *name*; *absent* says why a tool cannot be run."""
    entry = entries()[name]
    model = zoo_program().parent / entry["model"]
    data = folder / f"{name}.npz"
    required(run([sys.executable, zoo_program(), "calib", name, data]))
    there = [s for s in given if s.tool not in absent]
    outs = {s: folder / f"{name}.{number}.onnx" for number, s in enumerate(there)}
    made = dict(zip(there, in_turns(there, model, data, list(outs.values())), strict=True))
    rows = []
    for setting in given:
        row: dict[str, Any] = {"tool": setting.tool, "setting": setting.name}
        if setting.tool in absent:
            row["error"] = absent[setting.tool]
        else:
            out = outs[setting]
            row |= measured(made[setting], model, out)
            row |= {} if "error" in row else scored(name, out)
            row |= {} if "error" in row else covered(out)
        if "error" in row:
            row["error"] = row["error"].replace(f"{folder}{os.sep}", "")
        rows.append(row)
        print(f"{name}: {json.dumps(row)}", flush=True)
    files = {o: r for s, r in zip(given, rows, strict=True) if "error" not in r and (o := outs[s])}
    floating = {"float_ms": {}}
    for hidden in (None, hide) if hide else (None,):
        for threads in THREADS:
            key = f"{'AVX2' if hidden else 'all'}, {threads}"
            found = speeds(data, [model, *files], threads, hidden)
            floating["float_ms"][key] = round(found[str(model)]["ms"], 3)
            for out, row in files.items():
                row.setdefault("speed", {})[key] = round(found[str(out)]["speed"], 3)
    return {"metric": entry["metric"], "float": entry["fp32_metric"], **floating, "rows": rows}


def covered(out: Path) -> dict[str, Any]:
    """Percent of multiply-accumulates on integer kernels, as ``onnxq check`` counts them."""
    found = run([ONNXQ, "check", out, "--json"])
    if found.code not in (0, 4):
        return {"error": f"onnxq check: {found.reason}"}
    return {"integer_macs_percent": json.loads(found.output)["summary"]["integer_macs_percent"]}


def speeds(
    data: Path, files: Sequence[Path], threads: int, hide: Mapping[str, str] | None
) -> dict[str, dict[str, Any]]:
    """What ``speed.py`` measures, with the variables *hide* in its environment."""
    before = ["env", *(f"{name}={value}" for name, value in hide.items())] if hide else []
    program = [sys.executable, HERE / "speed.py", data, *files, "--threads", str(threads)]
    found: dict[str, dict[str, Any]] = json.loads(required(run([*before, *program])).output)
    return found


def absences(python: str) -> tuple[dict[str, str], dict[str, str]]:
    """Versions of the peers in the environment of *python*; and why others are not there."""
    found = run([python, HERE / "peer_tools.py", "--versions"])
    if found.code:
        why = f"'{python} peer_tools.py --versions' failed: {found.reason}"
        return {}, dict.fromkeys(("NNCF", "onnxsim", "Quark"), why)
    names = {"nncf": "NNCF", "onnxsim": "onnxsim", "quark": "Quark"}
    versions = {names[tool]: v for tool, v in json.loads(found.output).items()}
    return (
        {tool: v for tool, v in versions.items() if v is not None},
        {tool: "not installed" for tool, v in versions.items() if v is None},
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("networks", nargs="*", default=NETWORKS, metavar="NETWORK")
    parser.add_argument("--python", default=sys.executable, help="that of the peers' environment")
    parser.add_argument("--repeat", type=int, default=3, help="runs of the quick quantizers")
    given = parser.parse_args()
    here = machine()
    found = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else []
    others: dict[str, dict[str, Any]] = {one["machine"]["cpu"]: one for one in found}
    result = others.pop(here["cpu"], {"networks": {}})
    if shutil.which(given.python) is None:
        sys.exit(f"{given.python} is no program")
    versions, absent = absences(given.python)
    for tool, why in absent.items():
        print(f"{tool} is left out: {why}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        hide = hiding(Path(folder))
        for name in given.networks:
            result["networks"][name] = compare(
                name, settings(given.python, given.repeat), absent, hide, Path(folder)
            )
            result |= {"machine": here, "versions": versions}
            result["networks"] = {n: result["networks"][n] for n in NETWORKS
                                  if n in result["networks"]}  # fmt: skip
            written = json.dumps([result, *others.values()], indent=1, allow_nan=False)
            RESULTS.write_text(f"{written}\n", "utf-8")


if __name__ == "__main__":
    main()
