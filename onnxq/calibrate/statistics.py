"""What observers measured: states by tensor name and observer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from os import PathLike
from typing import Any

from onnxq.calibrate.observer import AnyObserver


@dataclass(frozen=True)
class Statistics:
    """States by tensor name, then by observer.

    Attributes:
        states: the measurements.
        samples: how many samples were seen.
        nonfinite: by tensor name, how many NaN or Inf were left out.
    """

    states: Mapping[str, Mapping[AnyObserver, Any]] = field(default_factory=dict)
    samples: int = 0
    nonfinite: Mapping[str, int] = field(default_factory=dict)

    def get(self, tensor: str, observer: AnyObserver) -> Any:
        """The state of *observer* at *tensor*. Raises KeyError where it was not measured."""
        return self.states[tensor][observer]

    def missing(
        self, wanted: Mapping[str, tuple[AnyObserver, ...]]
    ) -> dict[str, tuple[AnyObserver, ...]]:
        """What of *wanted* has not been measured."""
        left = {
            t: tuple(o for o in observers if o not in self.states.get(t, {}))
            for t, observers in wanted.items()
        }
        return {t: o for t, o in left.items() if o}

    def without(self, wanted: Mapping[str, tuple[AnyObserver, ...]]) -> Statistics:
        """All but what is *wanted*, which nothing needs any more."""
        states = {
            t: {o: s for o, s in found.items() if o not in wanted.get(t, ())}
            for t, found in self.states.items()
        }
        return replace(self, states={t: s for t, s in states.items() if s})

    def merge(self, other: Statistics) -> Statistics:
        """Both, joined observer by observer (samples are those of the larger)."""
        states: dict[str, dict[AnyObserver, Any]] = {t: dict(s) for t, s in self.states.items()}
        for tensor, found in other.states.items():
            mine = states.setdefault(tensor, {})
            for observer, state in found.items():
                mine[observer] = (
                    observer.merge(mine[observer], state) if observer in mine else state
                )
        nonfinite = dict(self.nonfinite)
        for tensor, count in other.nonfinite.items():
            nonfinite[tensor] = nonfinite.get(tensor, 0) + count
        return Statistics(states, max(self.samples, other.samples), nonfinite)

    def lasting(self) -> Statistics:
        """What is worth keeping: without observers that are ``passing``, whose states are large."""
        states = {
            t: {o: s for o, s in found.items() if not getattr(o, "passing", False)}
            for t, found in self.states.items()
        }
        return Statistics({t: s for t, s in states.items() if s}, self.samples, self.nonfinite)

    def save(self, path: str | PathLike[str], model_digest: str, data_digest: str) -> None:
        """Write to *path* (``.npz`` without pickles), whole or not at all.

        Raises:
            OutputError: the file cannot be written.
        """
        from onnxq.calibrate.statistics_file import save_statistics

        save_statistics(self, path, model_digest, data_digest)

    @staticmethod
    def load(path: str | PathLike[str], model_digest: str, data_digest: str) -> Statistics:
        """Read what ``save`` wrote; an empty digest is not compared.

        Raises:
            DataError: no statistics file, or one of another model or other data.
        """
        from onnxq.calibrate.statistics_file import load_statistics

        return load_statistics(path, model_digest, data_digest)
