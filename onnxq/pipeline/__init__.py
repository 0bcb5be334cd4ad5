"""Passes and what runs them."""

from onnxq.pipeline.base import Pass
from onnxq.pipeline.context import Context, TensorFact
from onnxq.pipeline.groups import Group
from onnxq.pipeline.journal import Decline, Journal, PassRecord
from onnxq.pipeline.manager import PassManager
from onnxq.pipeline.plan import NodePlan, QuantPlan
from onnxq.pipeline.progress import Progress
from onnxq.pipeline.recipe import Recipe
from onnxq.pipeline.stage import Stage
from onnxq.pipeline.verification import Verify

__all__ = [
    "Context", "Decline", "Group", "Journal", "NodePlan", "Pass", "PassManager",
    "PassRecord", "Progress", "QuantPlan", "Recipe", "Stage",
    "TensorFact", "Verify",
]  # fmt: skip
