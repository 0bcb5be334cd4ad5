"""Calibration: what is measured, on which data, and how ranges follow from it."""
