"""Other quantizers, as their users run them; for an environment that has them.

``python peer_tools.py MODEL CALIBRATION.npz OUT TOOL``; ``python peer_tools.py --versions`` prints,
as JSON, the version of each, or why it is not there. Run by ``peers.py``, which says how the
environment is made. Of the settings that were tried, each tool has its most accurate one; all get
the same samples.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import onnx
from peer import Reader, samples

PACKAGES = {"nncf": "nncf", "onnxsim": "onnxsim", "quark": "amd-quark"}


def by_nncf(model: Path, archive: Path, out: Path) -> None:
    """NNCF's post-training quantization with its defaults."""
    import nncf

    feeds = list(samples(model, archive))
    onnx.save(nncf.quantize(onnx.load(model), nncf.Dataset(feeds), subset_size=len(feeds)), out)


def by_onnxsim(model: Path, archive: Path, out: Path) -> None:
    """onnxsim: simplified, then its whole-graph quantizer, weights of 7 bits, automatic ranges."""
    import onnxsim
    from onnxsim.full_qdq import quantize_full_qdq

    simplified, _ = onnxsim.simplify(onnx.load(model))
    feeds = list(samples(model, archive))
    onnx.save(quantize_full_qdq(simplified, feeds, method="auto", reduce_range=True), out)


def by_quark(model: Path, archive: Path, out: Path) -> None:
    """Quark's configuration for CPUs: uint8 activations, int8 weights, percentiles, equalized."""
    from quark.onnx import ModelQuantizer
    from quark.onnx.quantization.config import Config, get_default_config

    config = Config(global_quant_config=get_default_config("U8S8_AAWS"))
    reader = Reader(samples(model, archive))
    ModelQuantizer(config).quantize_model(str(model), str(out), reader)


TOOLS: dict[str, Callable[[Path, Path, Path], None]] = {
    "nncf": by_nncf,
    "onnxsim": by_onnxsim,
    "quark": by_quark,
}


def versions() -> dict[str, str | None]:
    """Installed versions by tool; None where it is not installed."""
    found: dict[str, str | None] = {}
    for tool, package in PACKAGES.items():
        try:
            found[tool] = version(package)
        except PackageNotFoundError:
            found[tool] = None
    return found


if __name__ == "__main__":
    if sys.argv[1:] == ["--versions"]:
        print(json.dumps(versions()))
    else:
        logging.disable(logging.WARNING)
        model, archive, out = (Path(a).resolve() for a in sys.argv[1:4])
        with tempfile.TemporaryDirectory() as folder:  # some leave files where they are run
            os.chdir(folder)
            TOOLS[sys.argv[4]](model, archive, out)
