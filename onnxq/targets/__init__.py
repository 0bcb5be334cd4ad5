"""What each hardware can do, as tables."""

from onnxq.targets.target import OpRule, Target

__all__ = ["OpRule", "Target"]
