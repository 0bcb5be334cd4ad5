"""A report as JUnit XML, for systems that show test results: a case an output and a layer."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from typing import Any

from onnxq.report.units import POOR_DB, db_text

Report = Mapping[str, Any]

_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold, not even escaped."""


def to_junit(report: Report, *, least_db: float = POOR_DB) -> str:
    """*report* as the text of a JUnit file.

    A case fails where its SQNR is below *least_db*: that of an output over the whole model, that
    of a layer alone (up to there, where that was not measured). What was not measured is skipped.
    """
    model = str(report.get("model") or "model")
    outputs = ET.Element("testsuite", name=_text(f"{model}: outputs"))
    for output in (report.get("summary") or {}).get("outputs") or []:
        _case(outputs, model, str(output.get("name")), output.get("sqnr_db"), least_db, "")
    layers = ET.Element("testsuite", name=_text(f"{model}: layers"))
    for layer in report.get("layers") or []:
        alone = layer.get("isolated_sqnr_db")
        found = layer.get("cumulative_sqnr_db") if alone is None else alone
        where = "up to there" if alone is None else "alone"
        why = f"{where}; {layer.get('reason') or ''}"
        name = f"{layer.get('node')} ({layer.get('op_type')})"
        _case(layers, model, name, found, least_db, why)
    root = ET.Element("testsuites", name="onnxq")
    for suite in (outputs, layers):
        cases = list(suite)
        suite.set("tests", str(len(cases)))
        suite.set("failures", str(sum(c.find("failure") is not None for c in cases)))
        suite.set("skipped", str(sum(c.find("skipped") is not None for c in cases)))
        root.append(suite)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _case(
    suite: ET.Element, model: str, name: str, found: float | None, least: float, why: str
) -> None:
    case = ET.SubElement(suite, "testcase", name=_text(name), classname=_text(f"onnxq.{model}"))
    if found is None:
        ET.SubElement(case, "skipped", message="not measured")
    elif found < least:
        message = f"SQNR {db_text(found)} dB is below {least:g} dB"
        failure = ET.SubElement(case, "failure", message=message)
        failure.text = _text(why) or None
    else:
        ET.SubElement(case, "system-out").text = f"SQNR {db_text(found)} dB"


def _text(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", text)
