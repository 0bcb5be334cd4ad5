"""A demonstration that needs nothing but the package: a real network, and real images."""

from onnxq.demo.run import DemoResult, run_demo

__all__ = ["DemoResult", "run_demo"]
