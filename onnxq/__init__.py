"""onnxq: a post-training quantizer that rewrites ONNX graphs.

The public names are here; they are imported when they are first used, so that ``import onnxq``
costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from onnxq import _versions, errors

if TYPE_CHECKING:
    from onnxq.api import Result as Result
    from onnxq.api import quantize as quantize
    from onnxq.api.tune import TuneResult as TuneResult
    from onnxq.api.tune import tune as tune
    from onnxq.graph import Model as Model
    from onnxq.pipeline import Context as Context
    from onnxq.pipeline import Pass as Pass
    from onnxq.pipeline import PassManager as PassManager
    from onnxq.pipeline import Recipe as Recipe
    from onnxq.pipeline import Stage as Stage
    from onnxq.quant import QuantSpec as QuantSpec
    from onnxq.targets import Target as Target

_HOME = {
    "quantize": "onnxq.api",
    "Result": "onnxq.api",
    "tune": "onnxq.api.tune",
    "TuneResult": "onnxq.api.tune",
    "Model": "onnxq.graph",
    "Context": "onnxq.pipeline",
    "Pass": "onnxq.pipeline",
    "PassManager": "onnxq.pipeline",
    "Recipe": "onnxq.pipeline",
    "Stage": "onnxq.pipeline",
    "QuantSpec": "onnxq.quant",
    "Target": "onnxq.targets",
}

__all__ = [
    "Context", "Model", "Pass", "PassManager", "QuantSpec", "Recipe", "Result", "Stage", "Target",
    "TuneResult", "errors", "quantize", "tune",
]  # fmt: skip

if (_problem := _versions.problem()) is not None and not _versions.at_console():
    raise _problem


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("onnxq")
        except PackageNotFoundError:
            return "0+unknown"
    if name not in _HOME:
        raise AttributeError(f"module 'onnxq' has no attribute '{name}'")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
