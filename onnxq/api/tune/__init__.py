"""Mixed precision: which layer gets how many bits, under budgets."""

from onnxq.api.tune.budgets import Budgets
from onnxq.api.tune.result import TuneResult
from onnxq.api.tune.run import tune

__all__ = ["Budgets", "TuneResult", "tune"]
