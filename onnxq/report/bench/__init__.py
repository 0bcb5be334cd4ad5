"""Latency of models side by side, and where the time goes."""
