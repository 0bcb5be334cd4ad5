"""A program as a model of standard ONNX operators that computes the same codes.

Each step becomes: codes cast to a float type that holds its sums exactly, the sum, a product with a
power of two, Floor (or what the rounding asks for), Clip, and a cast to the type of the codes.
Which type is exact follows from the proven width of the accumulator (`onnxq.integer.bounds`), not
from trying. Nothing depends on a runtime's choice of integer kernels, which may saturate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper

from onnxq.graph import Model
from onnxq.integer.kinds import Concat, Conv
from onnxq.integer.program import Program, Step, Value
from onnxq.integer.simulation.requantize import clipped, exact_type, requantize, shifted
from onnxq.integer.simulation.steps import Site, accumulator
from onnxq.integer.simulation.writer import SINGLE, Writer

#: Metadata key of a simulation model: that it is one.
SIMULATION_KEY = "onnxq.simulation"
_OPSET, _IR = 13, 8


@dataclass(frozen=True)
class Simulation:
    """A simulation model.

    Attributes:
        model: takes and gives what the quantized model does.
        codes: by name of a value of the program, the tensor that holds its codes.
    """

    model: onnx.ModelProto
    codes: Mapping[str, str]


def simulate(program: Program, model: Model) -> Simulation:
    """The simulation of *program*, which *model* was lowered to.

    Raises:
        UnsupportedModelError: a step has no explicit arithmetic.
    """
    ends = model.to_proto().graph
    outputs = {o.name: o for o in ends.output}
    real = {n for n, o in outputs.items() if o.type.tensor_type.elem_type == onnx.TensorProto.FLOAT}
    # a value that bears the name of a float output holds its accumulators
    codes = {v: f"{v}__codes" if v in real else v for v in program.values}
    write = Writer(taken={*codes.values(), *outputs, *program.inputs})
    for name, array in program.constants.items():
        write.constant(array, program.values[name].dtype, codes[name])
    for name, value in program.inputs.items():
        if name != value:
            _encode(write, name, program.values[value], codes[value])
    for step in program.steps:
        write.step = step.output
        _step(write, program, step, codes)
    for name, value in program.outputs.items():
        write.step = name
        if name in real:
            _decode(write, codes[value], program.values[value], name)
        elif name != codes[value]:
            write.node("Identity", [codes[value]], name)
        _reshape(outputs[name], program.values[value].shape)
    inputs = [i for i in ends.input if i.name in program.inputs]
    graph = helper.make_graph(
        write.nodes, ends.name or "simulation", inputs, list(ends.output), write.stored
    )
    opsets = [helper.make_opsetid("", _OPSET)]
    return Simulation(helper.make_model(graph, opset_imports=opsets, ir_version=_IR), codes)


def _reshape(info: onnx.ValueInfoProto, shape: tuple[int, ...]) -> None:
    """State the shape of an output but for its frames: inferred ones err with ``ceil_mode``."""
    dims = info.type.tensor_type.shape.dim
    del dims[1:]
    if not dims:
        dims.add()
    for size in shape[1:]:
        dims.add(dim_value=size)


def _encode(write: Writer, name: str, value: Value, codes: str) -> None:
    """What QuantizeLinear does to an input: ties to even, whatever the rounding of steps."""
    write.step = codes
    scale = write.constant(np.array(value.scale), SINGLE)
    found = write.node("Round", [write.node("Div", [name, scale])])
    if value.zero_point:
        found = write.node("Add", [found, write.constant(np.array(value.zero_point), SINGLE)])
    found = clipped(write, found, SINGLE, (value.low, value.high))
    write.cast(found, np.dtype(value.dtype), codes)


def _decode(write: Writer, codes: str, value: Value, name: str) -> None:
    found = write.cast(codes, SINGLE)
    if value.zero_point:
        found = write.node("Sub", [found, write.constant(np.array(value.zero_point), SINGLE)])
    write.node("Mul", [found, write.constant(np.array(value.scale), SINGLE)], name)


def _step(write: Writer, program: Program, step: Step, codes: Mapping[str, str]) -> None:
    operands = [codes[n] for n in step.inputs]
    kind = exact_type(step, [program.values[n] for n in step.inputs])
    target = np.dtype(program.values[step.output].dtype)
    site = Site(write, program, step, operands, kind)
    if isinstance(step.kind, Concat):
        parts = []
        for i, shift in enumerate(step.shifts):
            n = np.array(shift, np.int64)
            part = shifted(write, site.scaled(site.real(i), i), kind, n, program.rounding)
            part = clipped(write, part, kind, (step.low, step.high))
            parts.append(write.cast(part, target))
        write.node("Concat", parts, codes[step.output], axis=step.kind.axis)
        return
    trailing = 2 if isinstance(step.kind, Conv) else 0
    found = requantize(write, accumulator(site), kind, step, trailing, program.rounding)
    write.cast(found, target, codes[step.output])
