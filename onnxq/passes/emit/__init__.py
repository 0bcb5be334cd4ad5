"""Writes the plan into the graph in the form that the target reads."""
