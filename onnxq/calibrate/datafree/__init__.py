"""Activations without data: what batch-norms and weights say of their distribution."""
