"""From a QDQ model to an integer program.

The walk keeps, for each floating-point tensor, what it is in integers: the codes of a value with
a scale, or a computation that waits for the QuantizeLinear that gives it its format. What
does not meet one keeps its accumulator, as int32.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import onnx_graphsurgeon as gs

from onnxq.errors import OptionError
from onnxq.graph import Model, attribute, constant_value
from onnxq.integer.kinds import Copy, MaxPool, Pad, Reshape, Take, Transpose
from onnxq.integer.operators import LOWERED
from onnxq.integer.pending import INT32, Pending, complete
from onnxq.integer.program import (
    REQUANTIZATION_KEY,
    ROUNDING_KEY,
    ZEROS_KEY,
    Codes,
    Program,
    Step,
    Value,
)
from onnxq.integer.refuse import refused
from onnxq.integer.scales import Grid, grid
from onnxq.integer.sources import Constant, Sources
from onnxq.quant import Rounding

_NOTHING = ("Identity", "Dropout")


def lower(model: Model) -> Program:
    """The integers that *model* computes with.

    Args:
        model: a QDQ model. Every scale is a power of two and every zero point 0, unless its
            metadata say that its results are requantized by a multiplier, or that it has zero
            points.

    Raises:
        UnsupportedModelError: a node cannot run on integers alone; it is named, with the remedy.
        OptionError: the rounding or requantization that the file's metadata name does not exist.
    """
    return _Lowering(model).program()


class _Lowering(Sources):
    """One walk over a model."""

    def __init__(self, model: Model) -> None:
        self.graph = model.graph
        self.rounding, self.shifts = rounding_of(model), shifts_alone(model)
        self.centred = self.shifts and ZEROS_KEY not in model.metadata
        self.values: dict[str, Value] = {}
        self.constants: dict[str, Codes] = {}
        self.steps: list[Step] = []
        self.codes: dict[str, str] = {}
        self.pending: dict[str, Pending] = {}
        self.weights: dict[str, Constant] = {}
        self.inputs: dict[str, str] = {}
        self.clipped: dict[str, tuple[gs.Tensor, gs.Node]] = {}

    def program(self) -> Program:
        for node in self.graph.nodes:
            if node.op == "QuantizeLinear":
                self._quantize(node)
            elif node.op == "DequantizeLinear":
                self._dequantize(node)
            elif node.op in _NOTHING:
                self._pass_on(node)
            elif node.op in ("Relu", "Clip"):
                self._clip(node)
            elif node.op in LOWERED and not node.domain:
                for tensor, pending in zip(node.outputs, LOWERED[node.op](self, node), strict=True):
                    self._keep(tensor, pending)
            else:
                known = ", ".join(sorted((*LOWERED, "Relu", "Clip")))
                hint = "let a pass rewrite it ('onnxq passes'), or cut it off the model"
                raise refused(node, f"integer programs have {known}, not {node.op}", hint)
        outputs = dict(self._outputs())
        used = {n for s in self.steps for n in s.inputs} | set(outputs.values())
        values = {n: v for n, v in self.values.items()
                  if n in used or n in self.inputs.values() or n not in self.constants}  # fmt: skip
        constants = {n: c for n, c in self.constants.items() if n in used}
        return Program(self.inputs, outputs, values, constants, tuple(self.steps), self.rounding)

    def _outputs(self) -> Iterator[tuple[str, str]]:
        for tensor in self.graph.outputs:
            if tensor.name in self.codes:
                yield tensor.name, self.codes[tensor.name]
            elif tensor.inputs:
                yield tensor.name, self.value(tensor, tensor.inputs[0]).name

    def _keep(self, tensor: gs.Tensor, pending: Pending) -> None:
        """Let *pending* wait where exactly one node reads it, which may give it a format."""
        self.pending[tensor.name] = pending
        follows = [n.op for n in tensor.outputs]
        waits = len(follows) == 1 and follows[0] in ("QuantizeLinear", "Relu", "Clip", *_NOTHING)
        if not waits or any(t is tensor for t in self.graph.outputs):
            self.settle(tensor)

    def settle(self, tensor: gs.Tensor) -> None:
        """Write the accumulator of a pending *tensor* as it is, in 32 bits."""
        pending = self.pending.pop(tensor.name)
        form = replace(INT32, scales=(min(abs(s) for s in pending.scales),))
        if isinstance(pending.kind, (Reshape, Transpose, Take, MaxPool, Pad)):  # the input's codes
            form = _all_codes(self.values[pending.inputs[0]])
        self._complete(pending, tensor.name, form)
        self.codes[tensor.name] = tensor.name

    def between(self, pending: Pending, name: str, form: Grid | None = None) -> Value:
        """The value *name* of *pending*, which is no tensor of the model."""
        while name in self.values:
            name += "_"
        self._complete(pending, name, form or _all_codes(self.values[pending.inputs[0]]))
        return self.values[name]

    def _complete(self, pending: Pending, name: str, form: Grid) -> None:
        spans = [self.values[n] for n in pending.inputs]
        step, value = complete(pending, name, form, spans, self.rounding, shifts=self.shifts)
        self.steps.append(step)
        self.values[name] = value

    def _quantize(self, node: gs.Node) -> None:
        source, target = node.inputs[0], node.outputs[0]
        if constant_value(source) is not None:
            raise refused(node, f"it quantizes the constant '{source.name}' while the model runs",
                          "--format qdq, which stores integers")  # fmt: skip
        form = grid(node, shifts=self.shifts, centred=self.centred)
        if form.axis is not None:
            raise refused(
                node, "activations with a scale for each channel need one more multiplier"
            )
        if source.name in self.pending:
            self._complete(self.pending.pop(source.name), target.name, form)
        elif source.name in self.codes:
            value = self.values[self.codes[source.name]]
            copy = Pending(node, Copy(), (value.name,), (value.scale,), value.shape)
            if _same(value, form) and value.dtype == form.dtype and _within(value, form):
                self.codes[target.name] = value.name
                return
            self._complete(copy, target.name, form)
        elif source.name in self.clipped:
            given, clip = self.clipped[source.name]
            low, high = (float(v) / form.scales[0] for v in _limits(clip))
            low, high = (np.clip(np.rint(v) + form.zero_points[0], form.low, form.high)
                         for v in (low, high))  # fmt: skip
            self._input(given, target.name, replace(form, low=int(low), high=int(high)))
        elif any(t is source for t in self.graph.inputs):
            self._input(source, target.name, form)
        else:
            raise refused(node, f"its input '{source.name}' is no result of integers")
        self.codes[target.name] = target.name

    def _input(self, source: gs.Tensor, name: str, form: Grid) -> None:
        if source.name in self.inputs:
            raise refused(source.outputs[0], f"input '{source.name}' is quantized in several ways",
                          "one QuantizeLinear for the input")  # fmt: skip
        shape = self.frame(source)
        self.values[name] = Value(name, shape, form.dtype, form.scales[0], form.zero_points[0],
                                  form.low, form.high)  # fmt: skip
        self.inputs[source.name] = name

    def _dequantize(self, node: gs.Node) -> None:
        source, target = node.inputs[0], node.outputs[0]
        form = grid(node, shifts=self.shifts, centred=self.centred)
        stored = constant_value(source)
        if stored is not None:
            zeros = np.array(form.zero_points)
            if form.axis is not None:
                zeros = zeros.reshape([-1 if i == form.axis % stored.ndim else 1
                                       for i in range(stored.ndim)])  # fmt: skip
            codes = stored.astype(np.int64) - (zeros if stored.ndim else int(zeros[0]))
            self.weights[target.name] = Constant(target.name, codes, form.scales, form.axis)
            return
        if source.name not in self.codes and any(t is source for t in self.graph.inputs):
            self._input(source, source.name, form)
            self.codes[source.name] = source.name
        value = self.value(source, node)
        if form.axis is not None or not _same(value, form):
            raise refused(node, f"its scale is not the one that '{source.name}' was quantized with")
        self.codes[target.name] = value.name

    def _pass_on(self, node: gs.Node) -> None:
        source, target = node.inputs[0], node.outputs[0]
        if source.name in self.pending:
            self._keep(target, self.pending.pop(source.name))
        else:
            self.codes[target.name] = self.value(source, node).name

    def _clip(self, node: gs.Node) -> None:
        source = node.inputs[0]
        if source.name not in self.codes and any(t is source for t in self.graph.inputs):
            self.clipped[node.outputs[0].name] = source, node
            return
        least, most = _limits(node)
        pending = self.pending.pop(source.name, None)
        if pending is None:
            value = self.value(source, node)
            pending = Pending(node, Copy(), (value.name,), (value.scale,), value.shape)
        # ONNX clips from below first
        ends = (min(max(v, least), most) for v in (pending.least, pending.most))
        self._keep(node.outputs[0], replace(pending, least=next(ends), most=next(ends)))


def _all_codes(x: Value) -> Grid:
    """The grid of *x*, with every code of its type."""
    limits = np.iinfo(x.dtype)
    low, high = int(limits.min), int(limits.max)
    return Grid((x.scale,), (x.zero_point,), None, low, high, x.dtype)


def _same(value: Value, form: Grid) -> bool:
    return value.scale == form.scales[0] and value.zero_point == form.zero_points[0]


def _within(value: Value, form: Grid) -> bool:
    return form.low <= value.low and value.high <= form.high


def _limits(node: gs.Node) -> tuple[float, float]:
    ends = [0.0 if node.op == "Relu" else -np.inf, np.inf]
    if node.op == "Clip":
        for i, key in enumerate(("min", "max")):
            given = attribute(node, key)
            if given is None and len(node.inputs) > i + 1 and node.inputs[i + 1].name:
                given = constant_value(node.inputs[i + 1])
                if given is None:
                    raise refused(node, "its limits are computed while the model runs")
            ends[i] = ends[i] if given is None else float(np.asarray(given).reshape(()))
    return float(ends[0]), float(ends[1])


def rounding_of(model: Model) -> Rounding:
    """How *model* wants right shifts to round: half up where it does not say.

    Raises:
        OptionError: there is no such rounding.
    """
    name = model.metadata.get(ROUNDING_KEY, Rounding.HALF_UP.value)
    try:
        return Rounding(name)
    except ValueError:
        raise OptionError(
            f"metadata '{ROUNDING_KEY}' is {name!r}, which is no rounding",
            hint=", ".join(r.value for r in Rounding),
        ) from None


def shifts_alone(model: Model) -> bool:
    """Whether results of *model* are shifted alone; else they are multiplied first.

    Raises:
        OptionError: its metadata say something else.
    """
    name = model.metadata.get(REQUANTIZATION_KEY, "shift")
    if name not in ("shift", "multiplier"):
        raise OptionError(
            f"metadata '{REQUANTIZATION_KEY}' is {name!r}, which is no requantization",
            hint="shift, or multiplier",
        )
    return name == "shift"
