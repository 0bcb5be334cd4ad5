"""The error report as one HTML file that needs nothing beside it and no network.

``uplot.min.js`` and ``uplot.min.css`` are uPlot 1.6.32 as its npm package has them (MIT, see
``uplot.LICENSE``); the rest of the page is ours.
"""

from onnxq.report.html.page import to_html

__all__ = ["to_html"]
