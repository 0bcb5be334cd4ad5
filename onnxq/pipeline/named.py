"""The recipes that have a name."""

RECIPES: dict[str, str] = {}
"""By name, the passes in the syntax of ``Recipe.parse``."""
