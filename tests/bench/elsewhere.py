"""Networks of one's own: onnxq's default beside onnxruntime's quantizer at its best setting.

::

    python tests/bench/elsewhere.py MODEL.onnx CALIBRATION.npz HELD_OUT.npz
    python tests/bench/elsewhere.py MODEL.onnx CALIBRATION.npz HELD_OUT.npz -- --mode dynamic

Prints, for each, the SQNR in dB of every float output on the samples held out, the size relative to
float, the speed relative to float (batch 1, one thread, in turns) and the seconds that quantizing
took. What stands behind ``--`` goes to ``onnxq quantize``. In an archive the first axis is the
sample. A model under opset 13, for which onnxruntime writes per-channel scales that it cannot load
again, is raised to 13 for it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import version_converter
from peer import samples
from process import Finished, run
from speed import latencies

HERE = Path(__file__).resolve().parent
PEER = "onnxruntime, U8S8 per channel, reduced range"


def outputs(model: Path, archive: Path) -> list[list[np.ndarray]]:
    """What *model* answers, by sample."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    return [session.run(None, feed) for feed in samples(model, archive)]


def sqnr(wanted: list[list[np.ndarray]], given: list[list[np.ndarray]]) -> list[str]:
    """Of each float output, in dB over all samples."""
    found = []
    for one, other in zip(zip(*wanted, strict=True), zip(*given, strict=True), strict=True):
        if one[0].dtype.kind != "f":
            continue
        if any(a.shape != b.shape for a, b in zip(one, other, strict=True)):
            found.append("other shapes")
            continue
        signal = sum(float(np.square(a, dtype=np.float64).sum()) for a in one)
        pairs = zip(one, other, strict=True)
        noise = sum(float(np.square(np.subtract(a, b, dtype=np.float64)).sum()) for a, b in pairs)
        found.append(f"{10 * np.log10(signal / max(noise, 1e-30)):.1f}")
    return found


def raised(model: Path, folder: Path) -> Path:
    """*model* in opset 13 where it is older."""
    proto = onnx.load(model)
    if max(o.version for o in proto.opset_import if o.domain in ("", "ai.onnx")) >= 13:
        return model
    onnx.save(version_converter.convert_version(proto, 13), folder / "raised.onnx")
    return folder / "raised.onnx"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    for name in ("model", "calibration", "held"):
        parser.add_argument(name, type=Path)
    parser.add_argument("options", nargs="*", help="of onnxq quantize, behind --")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ours, theirs = folder / "onnxq.onnx", folder / "peer.onnx"
        made: dict[str, tuple[Path, Finished]] = {}
        command = [sys.executable, "-m", "onnxq", "quantize", given.model, "--data",
                   given.calibration, "-o", ours, *given.options]  # fmt: skip
        made["onnxq"] = (ours, run(command))
        peer = [sys.executable, HERE / "peer.py", raised(given.model, folder)]
        made[PEER] = (theirs, run([*peer, given.calibration, theirs, "u8s8"]))
        for title, (path, ended) in list(made.items()):
            if ended.code or not path.exists():
                print(f"{title}: {ended.reason}")
                del made[title]
        wanted = outputs(given.model, given.held)
        times = latencies(given.held, [given.model, *(path for path, _ in made.values())])
        for (title, (path, ended)), took in zip(made.items(), times[1:], strict=True):
            print(
                f"{title}: {', '.join(sqnr(wanted, outputs(path, given.held)))} dB, "
                f"{path.stat().st_size / given.model.stat().st_size:.3f} of the size, "
                f"{float(np.median(times[0] / took)):.2f} x float, {ended.seconds:.1f} s"
            )


if __name__ == "__main__":
    main()
