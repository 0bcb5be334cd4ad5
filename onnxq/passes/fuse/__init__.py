"""Joins float nodes that an integer kernel computes as one; the function is kept."""
