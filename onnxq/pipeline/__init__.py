"""Passes and what runs them."""

from onnxq.pipeline.base import Pass
from onnxq.pipeline.context import Context, TensorFact
from onnxq.pipeline.journal import Decline, Journal, PassRecord
from onnxq.pipeline.plan import NodePlan, QuantPlan
from onnxq.pipeline.stage import Stage

__all__ = [
    "Context", "Decline", "Journal", "NodePlan", "Pass", "PassRecord", "QuantPlan", "Stage",
    "TensorFact",
]  # fmt: skip
