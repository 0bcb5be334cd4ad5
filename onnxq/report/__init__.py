"""The error report: measuring, building, rendering."""
