"""Reference, ONNX Runtime and generated C compared on every value."""

from onnxq.report.verify.agreement import SCHEMA, verify

__all__ = ["SCHEMA", "verify"]
