"""JUnit XML: cases, failures by threshold, and text that XML can hold."""

import xml.etree.ElementTree as ET

from onnxq.report.junit import to_junit
from tests.report.sample import bare, sample


def test_cases_and_failures():
    report = sample()
    root = ET.fromstring(to_junit(report, least_db=30.0))
    outputs, layers = root.findall("testsuite")
    assert int(layers.get("tests")) == len(report["layers"]) == len(layers.findall("testcase"))
    failed = {c.get("name") for c in layers if c.find("failure") is not None}
    low = {
        f"{e['node']} ({e['op_type']})" for e in report["layers"] if e["isolated_sqnr_db"] < 30.0
    }
    assert failed == low
    assert 0 < int(layers.get("failures")) == len(low) < len(report["layers"])
    assert len(outputs) == len(report["summary"]["outputs"])


def test_what_was_not_measured_is_skipped():
    report = sample()
    report["layers"][0] |= {"isolated_sqnr_db": None, "cumulative_sqnr_db": None}
    layers = ET.fromstring(to_junit(report)).findall("testsuite")[1]
    assert layers.get("skipped") == "1"
    ET.fromstring(to_junit(bare()))


def test_control_characters_are_replaced():
    report = sample()
    report["layers"][0]["node"] = "a\x00b\x1b<&>"
    names = [c.get("name") for c in ET.fromstring(to_junit(report)).iter("testcase")]
    assert "a\ufffdb\ufffd<&> (Conv)" in names
