"""Which samples calibrate, and which are held out for the report."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import islice

from onnxq.calibrate.sources import DataSource, Feed

#: Most samples held out.
MOST = 32
#: With fewer samples, the same ones calibrate and are reported on.
FEWEST = 10


class Split:
    """A source in two: the last tenth, at most 32 samples, is held out for the report.

    With fewer than 10 samples the same ones serve both; where the report has data of its own,
    all calibrate. Of a source of unknown length the last 32 samples are held back during its
    first pass, so memory does not depend on its length.

    Args:
        source: the data.
        report_given: whether the report has data of its own.
    """

    def __init__(self, source: DataSource, report_given: bool = False) -> None:
        self.source, self.report_given = source, report_given

    def __iter__(self) -> Iterator[Feed]:
        """The samples that calibrate, in order."""
        if self.source.length is not None:
            yield from islice(self.source, self._calibrating(self.source.length))
            return
        back: deque[Feed] = deque()
        done = 0
        for feed in self.source:
            back.append(feed)
            if len(back) > MOST:
                done += 1
                yield back.popleft()
        yield from islice(back, self._calibrating(done + len(back)) - done)

    @property
    def calibration_samples(self) -> int:
        """How many samples calibrate."""
        return self._calibrating(self.source.count())

    @property
    def report_samples(self) -> int:
        """How many samples of this source the report is made on."""
        if self.report_given:
            return 0
        return self.source.count() if self.same else min(MOST, self.source.count() // 10)

    @property
    def same(self) -> bool:
        """Whether calibration and report share their samples, because there are too few."""
        return not self.report_given and self.source.count() < FEWEST

    def held_out(self) -> Iterator[Feed]:
        """The samples for the report, in order; none where the report has its own."""
        count = self.source.count()
        return islice(self.source.start(count - self.report_samples), self.report_samples)

    def _calibrating(self, count: int) -> int:
        if self.report_given or count < FEWEST:
            return count
        return count - min(MOST, count // 10)


def split(source: DataSource, report_given: bool = False) -> Split:
    """*source* divided for calibration and report; see ``Split``."""
    return Split(source, report_given)
