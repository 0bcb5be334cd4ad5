"""What kernels cost: tables by which the latency of a plan is predicted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from onnxq.errors import OptionError


@dataclass(frozen=True)
class Cost:
    """What one kernel takes, in nanoseconds.

    Attributes:
        node: for being called.
        element: for each element of its output.
        mac: for each multiply-accumulate.
    """

    node: float = 0.0
    element: float = 0.0
    mac: float = 0.0

    def seconds(self, elements: int, macs: int = 0) -> float:
        """Seconds for *elements* and *macs*."""
        return 1e-9 * (self.node + self.element * elements + self.mac * macs)


@dataclass(frozen=True, kw_only=True)
class Costs:
    """Costs of kernels on one kind of machine, on one thread.

    A kind of kernel is an ONNX operator; ``DepthwiseConv`` is a Conv with a group for each channel,
    ``ShallowConv`` one that reads at most four channels, as the first ones of networks do when
    'widen-stem' is done with them, ``SiLU`` either of the Sigmoid and the Mul of one, ``Scale`` a
    Mul by a constant for each channel, ``Gemm`` also MatMul, ``Move`` what only moves data.

    Attributes:
        floating, integer: by kind; one that is not named costs nothing.
        quantize, dequantize: conversions.
        layout: turning a tensor of rank 4 from the order that float kernels prefer to the one that
            integer kernels prefer, or back.
    """

    floating: Mapping[str, Cost] = field(default_factory=dict)
    integer: Mapping[str, Cost] = field(default_factory=dict)
    quantize: Cost = Cost()
    dequantize: Cost = Cost()
    layout: Cost = Cost()

    def __str__(self) -> str:
        """One line that ``parse`` reads back: ``Conv=1:0.1:0.02|1:0.2:0.01;…;layout=0:0.5:0``."""
        kinds = {**self.floating, **self.integer}
        both = {k: f"{_text(self.floating.get(k))}|{_text(self.integer.get(k))}" for k in kinds}
        rest = {k: _text(getattr(self, k)) for k in _CONVERSIONS}
        return ";".join(f"{k}={v}" for k, v in (both | rest).items())

    @classmethod
    def parse(cls, text: str) -> Costs:
        """Read what ``str`` of a table gives.

        Raises:
            OptionError: the text is no such table.
        """
        floating, integer, rest = {}, {}, {}
        try:
            for entry in text.split(";"):
                kind, value = entry.split("=")
                if kind in _CONVERSIONS:
                    rest[kind] = _cost(value)
                else:
                    floating[kind], integer[kind] = (_cost(v) for v in value.split("|"))
        except ValueError as error:
            raise OptionError(
                f"this is no table of costs: '{text[:60]}'",
                why=str(error),
                hint="as in 'Conv=3000:0.1:0.02|3000:0.3:0.005;quantize=3000:0.4:0'",
            ) from error
        return cls(floating=floating, integer=integer, **rest)


_CONVERSIONS = ("quantize", "dequantize", "layout")


def _text(cost: Cost | None) -> str:
    cost = cost or Cost()
    return f"{cost.node:.4g}:{cost.element:.4g}:{cost.mac:.4g}"


def _cost(text: str) -> Cost:
    node, element, mac = (float(v) for v in text.split(":"))
    return Cost(node, element, mac)
