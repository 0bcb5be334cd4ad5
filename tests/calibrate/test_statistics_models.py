from __future__ import annotations

from onnxq.calibrate.extremes import Extremes
from onnxq.calibrate.statistics import Statistics
from onnxq.calibrate.statistics_models import join_models, split_models


def statistics(low: float, samples: int) -> Statistics:
    observer = Extremes()
    state = observer.join(observer.init(), [(0, (low, 1.0))])
    return Statistics({"x": {observer: state}}, samples, {"x": samples})


def test_models_are_kept_apart() -> None:
    models = {"": statistics(-1.0, 4), "ab": statistics(-2.0, 4)}
    found = split_models(join_models(models))
    assert found == models


def test_a_table_of_one_model_is_as_it_was() -> None:
    one = statistics(-1.0, 4)
    assert join_models({"": one}) == one
    assert split_models(one) == {"": one}
