"""What a tuned model must keep to."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from onnxq.api.tune.candidate import Measured
from onnxq.errors import OptionError, UnknownNameError
from onnxq.report.units import bytes_text
from onnxq.targets import PRECISIONS

_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(%|B|kB|MB|GB|)\s*", re.IGNORECASE)
_UNITS = {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9}


@dataclass(frozen=True, kw_only=True)
class Budgets:
    """Conditions; None and empty ask for nothing.

    Attributes:
        max_drop: how far the metric may fall below the float model's. Without a metric, the noise
            of the outputs in percent of the signal, 100 · Σ(y − x)² / Σx²: 0.5 % are 23 dB.
        min_sqnr: least SQNR of every output, dB.
        max_size: bytes of the file at most.
        max_macs, min_macs: by precision, percent of the multiply-accumulates.
        max_latency: milliseconds of a run, measured.
        min_speedup: how many times as fast as the float model, measured.
    """

    max_drop: float | None = None
    min_sqnr: float | None = None
    max_size: float | None = None
    max_macs: Mapping[str, float] = field(default_factory=dict)
    min_macs: Mapping[str, float] = field(default_factory=dict)
    max_latency: float | None = None
    min_speedup: float | None = None

    @property
    def accuracy(self) -> bool:
        """Whether accuracy is limited: then the rest is made as cheap as it can be."""
        return self.max_drop is not None or self.min_sqnr is not None

    @property
    def timed(self) -> bool:
        """Whether latency has to be measured."""
        return self.max_latency is not None or self.min_speedup is not None

    @property
    def any(self) -> bool:
        """Whether anything is asked for."""
        return (
            self.accuracy or self.timed or self.max_size is not None
            or bool(self.max_macs) or bool(self.min_macs)
        )  # fmt: skip

    def inaccurate(self, found: Measured) -> list[str]:
        """Conditions on accuracy that *found* does not meet, as phrases."""
        missed = []
        if self.max_drop is not None and found.drop > self.max_drop:
            missed.append(f"the drop is {found.drop:.3g}, above {self.max_drop:g}")
        if self.min_sqnr is not None and found.sqnr_db < self.min_sqnr:
            missed.append(f"an output's SQNR is {found.sqnr_db:.1f} dB, below {self.min_sqnr:g}")
        return missed

    def uneven(self, macs: Mapping[str, float]) -> list[str]:
        """Conditions on multiply-accumulates that *macs* (percent by precision) does not meet."""
        most = [
            f"{macs.get(p, 0.0):.1f} % of the multiply-accumulates are at {p}, above {limit:g}"
            for p, limit in self.max_macs.items()
            if macs.get(p, 0.0) > limit
        ]
        least = [
            f"{macs.get(p, 0.0):.1f} % of the multiply-accumulates are at {p}, below {limit:g}"
            for p, limit in self.min_macs.items()
            if macs.get(p, 0.0) < limit
        ]
        return most + least

    def costly(self, found: Measured) -> list[str]:
        """Conditions on size and speed that *found* does not meet, as phrases."""
        missed = []
        if self.max_size is not None and found.bytes > self.max_size:
            missed.append(f"it has {bytes_text(found.bytes)}, above {bytes_text(self.max_size)}")
        speed, latency = found.speedup, found.latency_ms
        if self.max_latency is not None and latency is not None and latency > self.max_latency:
            missed.append(f"a run takes {latency:.3g} ms, above {self.max_latency:g}")
        if self.min_speedup is not None and speed is not None and speed < self.min_speedup:
            missed.append(f"it is {speed:.2f} times as fast as float, below {self.min_speedup:g}")
        return missed

    def missed(self, found: Measured) -> list[str]:
        """All conditions that *found* does not meet, as phrases."""
        return [*self.inaccurate(found), *self.uneven(found.macs), *self.costly(found)]

    def excess(self, found: Measured) -> float:
        """How far *found* is beyond the budgets, as the sum of what it exceeds each by; 0: none."""
        parts = [
            (found.drop, self.max_drop), (found.bytes, self.max_size),
            (found.latency_ms, self.max_latency), (self.min_speedup, found.speedup),
        ]  # fmt: skip
        far = [a / max(b, 1e-12) - 1 for a, b in parts if a is not None and b is not None]
        if self.min_sqnr is not None:
            far.append((self.min_sqnr - found.sqnr_db) / 10)
        far += [(found.macs.get(p, 0.0) - limit) / 100 for p, limit in self.max_macs.items()]
        far += [(limit - found.macs.get(p, 0.0)) / 100 for p, limit in self.min_macs.items()]
        return sum(max(amount, 0.0) for amount in far)

    def texts(self) -> list[str]:
        """The conditions, as phrases."""
        found = []
        if self.max_drop is not None:
            found.append(f"drop at most {self.max_drop:g}")
        if self.min_sqnr is not None:
            found.append(f"SQNR at least {self.min_sqnr:g} dB")
        if self.max_size is not None:
            found.append(f"size at most {bytes_text(self.max_size)}")
        for p, limit in self.max_macs.items():
            found.append(f"at most {limit:g} % of the multiply-accumulates at {p}")
        for p, limit in self.min_macs.items():
            found.append(f"at least {limit:g} % of the multiply-accumulates at {p}")
        if self.max_latency is not None:
            found.append(f"at most {self.max_latency:g} ms")
        if self.min_speedup is not None:
            found.append(f"at least {self.min_speedup:g} times as fast as float")
        return found


def size(text: str | float, bytes_float: int) -> float:
    """Bytes that *text* stands for: ``"30%"`` or ``30`` of *bytes_float*, or ``"1.5MB"``.

    Raises:
        OptionError: it is none of these.
    """
    match = _SIZE.fullmatch(str(text))
    if match is None:
        raise OptionError(f"'{text}' is no size", hint="30% of the float model, 400kB or 1.5MB")
    value, unit = float(match[1]), match[2].lower()
    return value * _UNITS[unit] if unit in _UNITS else bytes_float * value / 100


def shares(entries: Iterable[str], option: str) -> dict[str, float]:
    """``PRECISION=PERCENT``, by precision.

    Raises:
        OptionError, UnknownNameError: *option* is given something else.
    """
    found = {}
    for entry in entries:
        precision, _, value = entry.partition("=")
        if precision not in PRECISIONS:
            raise UnknownNameError(f"precision in {option} '{entry}'", precision, PRECISIONS)
        try:
            found[precision] = float(value.removesuffix("%"))
        except ValueError as error:
            raise OptionError(
                f"{option} '{entry}' is no PRECISION=PERCENT", hint=f"{option} float=10"
            ) from error
    return found
