"""Integer programs as ONNX models of explicit arithmetic, the same in every ONNX Runtime."""

from onnxq.integer.simulation.build import SIMULATION_KEY, Simulation, simulate

__all__ = ["SIMULATION_KEY", "Simulation", "simulate"]
