import numpy as np
import pytest

from onnxq.calibrate.extremes import Extremes
from onnxq.calibrate.histogram import Histogram
from onnxq.calibrate.statistics import Statistics
from onnxq.errors import DataError, OutputError

OBSERVERS = (Extremes(), Histogram(), Histogram(bins=64))


@pytest.fixture
def statistics():
    rng = np.random.default_rng(0)
    states = {}
    for tensor in ("conv1.out", "a/b:0", "größe"):
        states[tensor] = {o: o.init() for o in OBSERVERS}
        for i in range(3):
            x = rng.normal(size=50).astype(np.float32)
            states[tensor] = {o: o.update(s, i, x) for o, s in states[tensor].items()}
    return Statistics(states, 3, {"a/b:0": 2})


def test_saved_and_loaded_statistics_are_equal(statistics, tmp_path):
    statistics.save(tmp_path / "s.npz", "model", "data")
    found = Statistics.load(tmp_path / "s.npz", "model", "data")
    assert (found.samples, dict(found.nonfinite)) == (3, {"a/b:0": 2})
    assert list(found.states) == list(statistics.states)
    for tensor, states in statistics.states.items():
        for observer, state in states.items():
            a, b = observer.to_arrays(state), observer.to_arrays(found.get(tensor, observer))
            assert {k: v.tobytes() for k, v in a.items()} == {k: v.tobytes() for k, v in b.items()}
    assert not found.missing(dict.fromkeys(statistics.states, OBSERVERS))
    assert [p.name for p in tmp_path.iterdir()] == ["s.npz"]


@pytest.mark.parametrize(("model", "data"), [("other", "data"), ("model", "other")])
def test_statistics_of_another_model_or_other_data_are_refused(statistics, tmp_path, model, data):
    statistics.save(tmp_path / "s.npz", "model", "data")
    with pytest.raises(DataError, match="another " + ("model" if model == "other" else "data")):
        Statistics.load(tmp_path / "s.npz", model, data)
    assert Statistics.load(tmp_path / "s.npz", "", "").samples == 3


@pytest.mark.parametrize("content", [b"", b"text", None])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "s.npz"
    if content is None:
        np.savez(path, a=np.zeros(3))
    else:
        path.write_bytes(content)
    with pytest.raises(DataError, match="no statistics file"):
        Statistics.load(path, "", "")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(DataError, match="no statistics file"):
        Statistics.load(tmp_path / "none.npz", "", "")


def test_an_unwritable_place_leaves_nothing(statistics, tmp_path):
    with pytest.raises(OutputError, match="cannot be written"):
        statistics.save(tmp_path / "absent" / "s.npz", "m", "d")
    (tmp_path / "s.npz").mkdir()
    with pytest.raises(OutputError):
        statistics.save(tmp_path / "s.npz", "m", "d")
    assert [p.name for p in tmp_path.iterdir()] == ["s.npz"]
