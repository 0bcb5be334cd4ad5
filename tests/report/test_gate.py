"""Conditions on a report: met, not met, or not answerable."""

import pytest

from onnxq.errors import DataError
from onnxq.report.gate import Conditions, gate


def report(**more):
    return {
        "schema": "onnxq-report/1",
        "summary": {
            "outputs": [
                {"name": "a", "sqnr_db": 25.0, "top1_agreement": 0.97},
                {"name": "b", "sqnr_db": 30.0, "top1_agreement": None},
            ],
            "bytes_float": 1000, "bytes_quantized": 270, "integer_macs_percent": 96.0,
        },
        "layers": [{"node": "c", "isolated_sqnr_db": 12.0}],
    } | more  # fmt: skip


@pytest.mark.parametrize(
    ("condition", "passed"),
    [
        ({"min_sqnr": 25.0}, [True, True]), ({"min_sqnr": 26.0}, [False, True]),
        ({"max_metric_drop": 3.0}, [True]), ({"max_metric_drop": 2.9}, [False]),
        ({"min_coverage": 96.0}, [True]), ({"min_coverage": 97.0}, [False]),
        ({"max_size": 27.0}, [True]), ({"max_size": 26.9}, [False]),
        ({"min_layer_sqnr": 12.0}, [True]), ({"min_layer_sqnr": 13.0}, [False]),
    ],
)  # fmt: skip
def test_conditions(condition, passed):
    found = gate(report(), Conditions(**condition))
    assert [c.passed for c in found] == passed
    for check in found:
        assert ("≥" in str(check) or "≤" in str(check)) is check.passed


def test_a_metric_of_ones_own_goes_before_agreement():
    metrics = [{"name": "AP", "float": 53.0, "quantized": 51.5}]
    (check,) = gate(report(metrics=metrics), Conditions(max_metric_drop=1.0))
    assert check.found == pytest.approx(1.5)
    assert not check.passed
    assert "AP" in str(check)


@pytest.mark.parametrize("name", ["min_sqnr", "max_metric_drop", "min_coverage", "max_size",
                                  "min_layer_sqnr"])  # fmt: skip
def test_what_the_report_lacks_is_an_error(name):
    with pytest.raises(DataError, match=name.replace("_", "-")):
        gate({"schema": "onnxq-report/1"}, Conditions(**{name: 1.0}))
