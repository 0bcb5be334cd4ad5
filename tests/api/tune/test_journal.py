from __future__ import annotations

from pathlib import Path

from onnxq.api.tune.candidate import Candidate, Measured
from onnxq.api.tune.journal import Journal
from onnxq.api.tune.noise import LayerNoise

CANDIDATE = Candidate("fast", (("conv", "4"),))
FOUND = Measured(noise=0.1, sqnr_db=10.0, drop=10.0, bytes=5, macs={"8": 100.0}, seconds=0.1)
LAYER = LayerNoise("conv", "Conv", 0.1, 0.2, 0.3, ("x",), "y", 9.0, 4, 3)


def test_what_was_measured_is_found_again(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    book = Journal(path, "one", str)
    book.keep(CANDIDATE, FOUND)
    book.keep_noise(CANDIDATE, [LAYER])
    again = Journal(path, "one", str)
    assert again.found == 2
    assert again.measured(CANDIDATE) == FOUND
    assert again.noise(CANDIDATE) == [LAYER]
    assert again.measured(Candidate("fast")) is None
    assert Journal(path, "another model", str).measured(CANDIDATE) is None
    assert Journal(path, "one", lambda c: "other passes").measured(CANDIDATE) is None


def test_a_line_cut_short_holds_nothing_and_harms_nothing(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    Journal(path, "one", str).keep(CANDIDATE, FOUND)
    with path.open("a") as file:
        file.write('{"digest": "one", "key": "measured fast", "va')
    book = Journal(path, "one", str)
    assert book.found == 1
    other = Candidate("best")
    book.keep(other, FOUND)
    assert Journal(path, "one", str).measured(other) == FOUND
