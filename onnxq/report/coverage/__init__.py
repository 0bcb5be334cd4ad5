"""What really runs on integers, what does not and why, and what may saturate."""

from onnxq.report.coverage.check import Coverage, check, cover

__all__ = ["Coverage", "check", "cover"]
