"""Models whose weights do not fit into memory, run a few layers at a time.

The graph is cut into parts of few weights, in its order. All samples pass through one part before
the next is loaded; what later parts read of them waits in a temporary file.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from onnxq.calibrate.spool import Spool
from onnxq.errors import UnsupportedModelError
from onnxq.graph import Model
from onnxq.graph.bodies import subgraphs
from onnxq.graph.deferred import peek
from onnxq.runtime.providers import Provider
from onnxq.runtime.session import Session

Arrays = dict[str, NDArray[Any]]
#: Bytes of weights in a part, unless a single layer has more.
PART = 96 << 20
_OUTSIDE = 1 << 16
"""Weights of more bytes reach ONNX Runtime in a file, which it maps instead of copying."""


@dataclass(frozen=True)
class _Part:
    """Some nodes that follow each other.

    Attributes:
        nodes: the nodes.
        reads: tensors that earlier parts, or the data, have to give.
        makes: tensors that its nodes compute.
        constants: names of the constants that they read.
    """

    nodes: tuple[onnx.NodeProto, ...]
    reads: frozenset[str]
    makes: frozenset[str]
    constants: frozenset[str]


class Parts:
    """A *model* in parts of about *size* bytes of weights."""

    def __init__(self, model: Model, size: int = PART) -> None:
        self.outline = model.outline()
        self.constants: dict[str, gs.Constant] = {
            n: t for n, t in model.tensors().items() if isinstance(t, gs.Constant)
        }
        self.inputs = [i.name for i in self.outline.graph.input if i.name not in self.constants]
        stored = {t.name for t in self.outline.graph.initializer}
        bytes_of = {n: _bytes(t) for n, t in self.constants.items() if n in stored}
        self.parts: list[_Part] = []
        nodes: list[onnx.NodeProto] = []
        held: set[str] = set()
        for node in self.outline.graph.node:
            own = {n for n in _names(node) if n in bytes_of}
            if nodes and sum(bytes_of[n] for n in held | own) > size:
                self.parts.append(_part(nodes, bytes_of))
                nodes, held = [], set()
            nodes.append(node)
            held |= own
        if nodes:
            self.parts.append(_part(nodes, bytes_of))

    @cached_property
    def live(self) -> list[frozenset[str]]:
        """In front of each part, the tensors that exist and that it or later ones read."""
        later: set[str] = set()
        found: list[frozenset[str]] = []
        made = [set(self.inputs)]
        for part in self.parts:
            made.append(made[-1] | part.makes)
        for part, there in zip(reversed(self.parts), reversed(made[:-1]), strict=True):
            later |= part.reads
            found.append(frozenset(later & there))
        return [*reversed(found), frozenset()]

    def session(
        self, index: int, feed: Mapping[str, NDArray[Any]], wanted: Sequence[str],
        providers: Sequence[Provider | str],
    ) -> Session:  # fmt: skip
        """A session of part *index* for inputs like *feed* that computes *wanted*."""
        part = self.parts[index]
        proto = onnx.ModelProto()
        proto.CopyFrom(self.outline)
        graph = proto.graph
        for field in ("node", "initializer", "sparse_initializer", "input", "output", "value_info"):
            graph.ClearField(field)
        graph.node.extend(part.nodes)
        for name in sorted(part.reads):
            kind = helper.np_dtype_to_tensor_dtype(feed[name].dtype)
            graph.input.append(helper.make_tensor_value_info(name, kind, [None] * feed[name].ndim))
        graph.output.extend(onnx.ValueInfoProto(name=n) for n in wanted)
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            with (Path(folder) / "weights").open("wb") as stream:
                for name in sorted(part.constants):
                    graph.initializer.append(_stored(name, peek(self.constants[name]), stream))
            path = Path(folder) / "part.onnx"
            path.write_bytes(proto.SerializeToString())
            return Session(path, providers)


class PartedRuns:
    """Runs of a model on samples, part by part; going on from where the last request ended.

    Args:
        model: the model; it is not changed, and must not change while this is in use.
        feeds: gives the samples, anew for each call.
        providers: execution providers, in order.
        size: bytes of weights in a part.
    """

    def __init__(
        self,
        model: Model,
        feeds: Callable[[], Iterable[Mapping[str, NDArray[Any]]]],
        providers: Sequence[Provider | str] = (),
        size: int = PART,
    ) -> None:
        self._parts, self._feeds, self._providers = Parts(model, size), feeds, providers
        self._home = {n: i for i, p in enumerate(self._parts.parts) for n in p.makes}
        self._restart()

    @property
    def computed(self) -> list[str]:
        """Names of all tensors that the main graph computes."""
        return [*self._home]

    def values(self, names: Iterable[str]) -> Iterator[tuple[int, Arrays]]:
        """The tensors *names*, some at a time: number of the sample, arrays by name.

        Of each tensor samples come in order. Names of no tensor that is computed are left out.
        """
        left = {n for n in names if n in self._home or n in self._parts.inputs}
        if any(not self._ahead(n) for n in left):
            self._restart()
        while left:
            there = left & self._live
            here = {n for n in left - there if self._home[n] == self._place}
            if there or here:
                run = self._runner(sorted(here))
                for sample, feed in enumerate(self._spool):
                    yield sample, {**{n: feed[n] for n in there}, **(run(feed) if here else {})}
                left -= there | here
            if left:
                self._advance()

    @property
    def _live(self) -> frozenset[str]:
        return self._parts.live[self._place]

    def _ahead(self, name: str) -> bool:
        return name in self._live or self._home.get(name, -1) >= self._place

    def _restart(self) -> None:
        self._place = 0
        inputs = self._parts.live[0]
        kept = ({n: np.asarray(f[n]) for n in inputs} for f in self._feeds())
        self._spool = Spool(kept)

    def _advance(self) -> None:
        """Let all samples pass through the part in front of them."""
        following = self._parts.live[self._place + 1]
        made = sorted(following & self._parts.parts[self._place].makes)
        run, before = self._runner(made), self._spool
        kept = following - set(made)
        after = ({**{n: f[n] for n in kept}, **run(f)} for f in before)
        self._spool = Spool(after)
        for _ in self._spool:  # all of them, so that the part can be forgotten
            pass
        self._place += 1

    def _runner(self, wanted: Sequence[str]) -> Callable[[Arrays], Arrays]:
        """What computes *wanted* of a sample with the part that comes next."""
        session: list[Session] = []

        def run(feed: Arrays) -> Arrays:
            reads = self._parts.parts[self._place].reads
            if not session:
                made = self._parts.session(self._place, feed, wanted, self._providers)
                session.append(made)
            found = session[0].run({n: feed[n] for n in reads}, wanted)
            other = next((n for n in wanted if not isinstance(found[n], np.ndarray)), None)
            if other is not None:
                raise UnsupportedModelError(
                    f"tensor '{other}' is no array",
                    why="a model of this size runs in parts, which hand on arrays alone",
                    hint="a method that needs no data: --weight-method mse",
                )
            return found

        return run


def _part(nodes: Sequence[onnx.NodeProto], constants: Mapping[str, int]) -> _Part:
    makes = {o for node in nodes for o in node.output if o}
    names = {n for node in nodes for n in _names(node)}
    return _Part(
        tuple(nodes), frozenset(names - makes - constants.keys()), frozenset(makes),
        frozenset(names & constants.keys()),
    )  # fmt: skip


def _names(node: onnx.NodeProto) -> set[str]:
    """Tensors that *node* reads, also from inside its bodies."""
    names = {n for n in node.input if n}
    for body in subgraphs(node):
        inner = {i.name for i in (*body.input, *body.initializer)}
        inner |= {o for n in body.node for o in n.output}
        names |= {n for one in body.node for n in _names(one)} - inner
        names |= {o.name for o in body.output} - inner
    return names


def _bytes(tensor: gs.Constant) -> int:
    return int(np.prod(tensor.shape) * np.dtype(tensor.dtype).itemsize)


def _stored(name: str, value: NDArray[Any], stream: Any) -> onnx.TensorProto:
    """*value* as an initializer: a large one in *stream*, by reference."""
    if value.nbytes < _OUTSIDE or value.dtype.kind not in "fiub":
        return numpy_helper.from_array(value, name)
    kind = helper.np_dtype_to_tensor_dtype(value.dtype)
    found = onnx.TensorProto(name=name, data_type=kind, dims=value.shape)
    found.data_location = onnx.TensorProto.EXTERNAL
    stream.seek(-stream.tell() % 4096, 1)  # maps begin at pages
    where = (("location", "weights"), ("offset", stream.tell()), ("length", value.nbytes))
    for key, text in where:
        found.external_data.add(key=key, value=str(text))
    np.ascontiguousarray(value).tofile(stream)
    return found
