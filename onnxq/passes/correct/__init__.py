"""Chooses the numbers: scales, zero points, integer weights and biases."""
