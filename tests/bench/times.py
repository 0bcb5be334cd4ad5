"""What quantizing takes, beside onnxruntime's MinMax and NNCF's default, whole processes in turns.

::

    python tests/bench/times.py                                   # squeezenet1.1, mobilenetv2, …
    python tests/bench/times.py mobilenetv2 --rounds 3 --python /venv-with-nncf/bin/python

Prints wall and CPU seconds of each, medians over rounds, and the median over rounds of onnxq's wall
time over each of the others'. Nothing else may run on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

from compare import Setting, entries, in_turns, required, zoo_program
from peers import Peer
from process import run

NETWORKS = ("squeezenet1.1", "mobilenetv2", "cifar_resnet20")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("networks", nargs="*", default=NETWORKS, metavar="NETWORK")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--python", help="of an environment that has NNCF")
    given = parser.parse_args()
    turns = given.rounds + 1  # the first fills the caches of the file system
    settings = [
        Setting("onnxq", "balanced", (), turns),
        Setting("onnxruntime", "MinMax", ("u8s8",), turns),
    ]
    if given.python:
        settings.append(Peer("NNCF", "default", ("nncf",), turns, given.python))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for network in given.networks:
            model = zoo_program().parent / entries()[network]["model"]
            data, out = folder / f"{network}.npz", folder / "out.onnx"
            required(run([sys.executable, zoo_program(), "calib", network, data]))
            found = in_turns(settings, model, data, [out] * len(settings))
            runs = [[required(one) for one in every][1:] for every in found]
            for setting, took in zip(settings, runs, strict=True):
                ratio = statistics.median(
                    ours.seconds / theirs.seconds
                    for ours, theirs in zip(runs[0], took, strict=True)
                )
                print(
                    f"{network}: {setting.tool}, {setting.name}: "
                    f"{statistics.median(f.seconds for f in took):.2f} s, "
                    f"CPU {statistics.median(f.cpu_seconds for f in took):.2f} s, "
                    f"{max(f.peak_mb for f in took):.0f} MB; onnxq takes {ratio:.2f} times as long",
                    flush=True,
                )


if __name__ == "__main__":
    main()
