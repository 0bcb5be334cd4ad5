"""The search for precisions, for people: its front, its table, its picture."""
