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

from compare import entries, required, zoo_program
from process import Finished, run

HERE = Path(__file__).resolve().parent
NETWORKS = ("squeezenet1.1", "mobilenetv2", "cifar_resnet20")
OWN = "onnxq, balanced"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("networks", nargs="*", default=NETWORKS, metavar="NETWORK")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--python", help="of an environment that has NNCF")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for network in given.networks:
            model = zoo_program().parent / entries()[network]["model"]
            data, out = folder / f"{network}.npz", folder / "out.onnx"
            required(run([sys.executable, zoo_program(), "calib", network, data]))
            ours = [sys.executable, "-m", "onnxq", "quantize", model, "--data", data, "-o", out]
            commands: dict[str, list[str | Path]] = {
                OWN: ours,
                "onnxruntime, MinMax": [
                    sys.executable, HERE / "peer.py", model, data, out, "u8s8",
                ],
            }  # fmt: skip
            if given.python:
                tool = [given.python, HERE / "peer_tools.py", model, data, out, "nncf"]
                commands["NNCF, default"] = tool
            rounds: list[dict[str, Finished]] = []
            for _ in range(given.rounds + 1):  # the first fills the caches of the file system
                rounds.append({k: required(run(c)) for k, c in commands.items()})
            for title in commands:
                took = [r[title] for r in rounds[1:]]
                ratio = statistics.median(r[OWN].seconds / r[title].seconds for r in rounds[1:])
                print(
                    f"{network}: {title}: {statistics.median(f.seconds for f in took):.2f} s, "
                    f"CPU {statistics.median(f.cpu_seconds for f in took):.2f} s, "
                    f"{max(f.peak_mb for f in took):.0f} MB; onnxq takes {ratio:.2f} times as long",
                    flush=True,
                )


if __name__ == "__main__":
    main()
