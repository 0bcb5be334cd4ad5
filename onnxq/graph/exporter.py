"""graphsurgeon's graph and what it cannot carry, back to protobuf."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

from onnxq.errors import OnnxqError
from onnxq.graph import attributes, value_info
from onnxq.graph.carried import Carried, CarriedGraph, CarriedNode, unchanged
from onnxq.graph.deferred import Deferred
from onnxq.graph.external import ExternalWriter
from onnxq.graph.header import set_metadata, set_opsets
from onnxq.graph.homes import census
from onnxq.graph.nodes import uid, walk
from onnxq.graph.order import sorted_nodes
from onnxq.graph.protos import copy_fields
from onnxq.graph.references import check_bindings, fill_annotations, fill_devices
from onnxq.graph.values import StoredSparse, StoredValues, fill_array

_NOTHING = CarriedNode()


class Exporter:
    """Writes one model.

    Args:
        graph: the main graph.
        carried: what is kept beside it.
        embed: take external data into the message; else references to it stay.
        sink: takes the data of large initializers; None keeps it in the message.
        outline: write one value for each initializer of so many bytes or more, whose data is not
            touched: the message has the form of the model, and is small.
    """

    def __init__(
        self,
        graph: gs.Graph,
        carried: Carried,
        *,
        embed: bool,
        sink: ExternalWriter | None = None,
        outline: int | None = None,
    ) -> None:
        self.root, self.carried, self.embed, self.sink = graph, carried, embed, sink
        self.outline = outline
        self.census = census(graph, carried)
        self.live_names = {t.name for t in self.census.live.values()}

    def model(self, metadata: dict[str, str]) -> ModelProto:
        """The whole model.

        Raises:
            OnnxqError: a cycle, two tensors with one name, an attribute that ONNX has no kind for,
                or carried data that names a tensor that is gone.
            ModelFileError: external data cannot be read.
        """
        proto = copy_fields(self.carried.header, ModelProto())
        if self.root.functions:
            names = ", ".join(f"'{f.name}'" for f in self.root.functions)
            raise OnnxqError(
                f"graphsurgeon functions {names} cannot be written",
                hint="add functions to Model.header as protobuf messages",
            )
        if self.root.ir_version is not None and self.root.ir_version != proto.ir_version:
            proto.ir_version = self.root.ir_version
        set_metadata(proto, metadata)
        domains = {n.domain for g in walk(self.root) for n in g.nodes}
        self.graph(proto.graph, self.root)
        set_opsets(proto, int(self.root.opset), domains)
        check_bindings(proto, self.live_names)
        return proto

    def graph(self, proto: GraphProto, graph: gs.Graph) -> None:
        """Write *graph* into the empty message *proto*."""
        kept = self.carried.graphs.get(uid(graph), CarriedGraph())
        proto.SetInParent()
        copy_fields(kept.rest, proto)
        for field in ("name", "doc_string"):
            if (getattr(graph, field) or "") != getattr(proto, field):
                setattr(proto, field, getattr(graph, field))
        constants = self.census.constants.get(uid(graph), [])
        self._check_names(graph, constants)
        for node in sorted_nodes(graph):
            self.node(proto.node.add(), node)
        for constant in constants:
            self.initializer(proto, constant)
        for tensor in self._inputs(graph, kept, constants):
            self._info(proto.input.add(), "input", tensor, 0)
        seen: dict[int, int] = {}
        for tensor in graph.outputs:
            nth = seen[uid(tensor)] = seen.get(uid(tensor), -1) + 1
            self._info(proto.output.add(), "output", tensor, nth)
        self._values(proto, graph, kept)
        fill_annotations(proto, kept.annotations, self.census.live)

    def node(self, proto: NodeProto, node: gs.Node) -> None:
        """Write *node* into the empty message *proto*."""
        kept = self.carried.nodes.get(uid(node), _NOTHING)
        copy_fields(kept.rest, proto)
        proto.op_type = node.op
        proto.input.extend(t.name for t in node.inputs)
        proto.output.extend(t.name for t in node.outputs)
        if (node.name or "") != proto.name:
            proto.name = node.name or ""
        if node.domain is not None:
            proto.domain = node.domain
        opset = int(self.root.opset)
        for name in node.attrs:
            template = kept.attributes.get(name)
            attributes.encode(
                proto.attribute.add(), node, name, template, opset, self.tensor, self.graph
            )
        if proto.device_configurations:
            fill_devices(proto, kept.names, self.census.live)

    def initializer(self, proto: GraphProto, constant: gs.Constant) -> None:
        """Add *constant* to the initializers of *proto*, sparse where it came so."""
        stored = self.carried.stored.get(uid(constant), constant._values)
        if isinstance(stored, StoredSparse) and unchanged(constant, stored):
            sparse = stored.fill(proto.sparse_initializer.add(), embed=self.embed)
            if sparse.values.name != constant.name:
                sparse.values.name = constant.name
        else:
            self.tensor(proto.initializer.add(), constant, sink=self.sink)

    def tensor(
        self, proto: TensorProto, constant: gs.Constant, *, sink: ExternalWriter | None = None
    ) -> None:
        """Write *constant* into the empty message *proto*: as it came where it is unchanged."""
        stored = self.carried.stored.get(uid(constant), constant._values)
        if self.outline is not None and not isinstance(stored, StoredSparse):
            plain = isinstance(constant.dtype, np.dtype | type) and constant.dtype != np.object_
            if plain and constant._values.nbytes >= self.outline:
                fill_array(proto, np.zeros(1, constant.dtype))
                proto.name = constant.name
                return
        data: Any = None
        if isinstance(stored, StoredValues) and unchanged(constant, stored):
            if sink is not None and stored.stored_bytes() >= sink.threshold:
                data = stored.data()
            if data is not None:
                skip = ("external_data", "data_location")
                sink.write(copy_fields(stored.rest, proto, skip=skip), data)  # type: ignore[union-attr]
            else:
                stored.fill(proto, embed=self.embed)
        else:
            if isinstance(stored, StoredValues):
                proto.doc_string = stored.rest.doc_string
                proto.metadata_props.extend(stored.rest.metadata_props)
                if not stored.rest.HasField("doc_string"):
                    proto.ClearField("doc_string")
            fill_array(proto, _array(constant))
            if sink is not None and len(proto.raw_data) >= sink.threshold:
                data = proto.raw_data
                proto.ClearField("raw_data")
                sink.write(proto, data)
        if constant.name != proto.name:
            proto.name = constant.name

    def _inputs(
        self, graph: gs.Graph, kept: CarriedGraph, constants: list[gs.Constant]
    ) -> list[gs.Tensor]:
        """Inputs of the message: those of *graph*, and initializers that are inputs too.

        These keep their place behind the input that they followed. Before IR version 4 every
        initializer of a graph has to be one of its inputs.
        """
        here = {uid(c): c for c in constants}
        after: dict[int, list[gs.Constant]] = {}
        anchor, current = 0, {uid(t) for t in graph.inputs}
        for number in kept.inputs:
            if number in current:
                anchor = number
            elif number in here:
                after.setdefault(anchor, []).append(here.pop(number))
        result = after.pop(0, [])
        for tensor in graph.inputs:
            result += [tensor, *after.get(uid(tensor), [])]
        version = self.root.ir_version or self.carried.header.ir_version
        if version < 4 and graph is self.root and kept.inputs:
            result += [c for c in here.values() if uid(c) not in self.carried.home]
        return result

    def _values(self, proto: GraphProto, graph: gs.Graph, kept: CarriedGraph) -> None:
        """Value infos: the loaded ones in their order, then those of tensors that are new."""
        skip = {uid(t) for t in (*graph.inputs, *graph.outputs)}
        seen: dict[int, int] = {}
        for entry in kept.values:
            if isinstance(entry, ValueInfoProto):
                if entry.name not in self.live_names:
                    proto.value_info.add().CopyFrom(entry)
            elif (tensor := self.census.live.get(entry)) is not None:
                nth = seen[entry] = seen.get(entry, -1) + 1
                self._info(proto.value_info.add(), "value", tensor, nth)
        skip |= seen.keys()
        for node in graph.nodes:
            for tensor in node.outputs:
                number = uid(tensor)
                if tensor.name and tensor.dtype is not None and number not in skip:
                    self._info(proto.value_info.add(), "value", tensor, 0)

    def _info(self, proto: ValueInfoProto, role: str, tensor: gs.Tensor, nth: int) -> None:
        infos = self.carried.infos.get((role, uid(tensor)), [])
        carried = infos[min(nth, len(infos) - 1)] if infos else None
        value_info.fill(proto, tensor, carried, self.carried.types.get(uid(tensor)))

    def _check_names(self, graph: gs.Graph, constants: list[gs.Constant]) -> None:
        owners: dict[str, gs.Tensor] = {}
        made = (t for node in graph.nodes for t in node.outputs if t.name)
        for tensor in (*graph.inputs, *constants, *made):
            if owners.setdefault(tensor.name, tensor) is not tensor:
                raise OnnxqError(
                    f"graph '{graph.name}' has two tensors called '{tensor.name}'",
                    why="a name stands for one tensor",
                    hint="take new names from Model.unique_name",
                )


def _array(constant: gs.Constant) -> np.ndarray[Any, Any]:
    values = constant._values
    array = values.load() if isinstance(values, Deferred) else np.asarray(constant.values)
    wanted = constant._export_dtype
    return array if wanted is None else array.astype(np.dtype(wanted))
