"""Rescales channels and weights so that they quantize well; the function is kept."""
