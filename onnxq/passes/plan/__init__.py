"""Decides which nodes become integer kernels and how each tensor is quantized."""
