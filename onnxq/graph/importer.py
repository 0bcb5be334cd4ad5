"""Protobuf to graphsurgeon's graph, and beside it what that cannot carry."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import onnx_graphsurgeon as gs
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

from onnxq.errors import ModelFileError
from onnxq.graph import attributes, value_info
from onnxq.graph.carried import Carried, CarriedAnnotation, CarriedGraph, CarriedNode
from onnxq.graph.header import default_opset
from onnxq.graph.nodes import Node, uid
from onnxq.graph.protos import copy_fields, present
from onnxq.graph.values import StoredSparse, StoredValues

_GRAPH_LISTS = ("node", "initializer", "sparse_initializer", "input", "output", "value_info",
                "quantization_annotation")  # fmt: skip
_NODE_OWN = ("input", "output", "op_type", "domain", "attribute")


class Scope(dict[str, gs.Tensor]):
    """Tensors of one graph by name, and the scope around it."""

    def __init__(self, outer: Scope | None) -> None:
        super().__init__()
        self.outer = outer

    def find(self, name: str) -> gs.Tensor | None:
        """The tensor called *name*, of the innermost graph that has one."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope:
                return scope[name]
            scope = scope.outer
        return None


class Importer:
    """Reads one model.

    Attributes:
        carried: what the graph cannot carry.
        known_names: all names of nodes and tensors.
    """

    def __init__(self, path: Path | None, known_names: set[str]) -> None:
        self.path, self.known_names = path, known_names
        self.carried = Carried()
        self.notes: list[tuple[str, gs.Tensor, ValueInfoProto]] = []

    def model(self, proto: ModelProto) -> gs.Graph:
        """The main graph of *proto*.

        Raises:
            ModelFileError: two initializers share a name, or external data is out of bounds.
        """
        copy_fields(proto, self.carried.header, skip=("graph",))
        self.opset = default_opset(proto)
        graph = self.graph(proto.graph, None)
        # only now every statement about every tensor is known
        for role, tensor, info in self.notes:
            kept = value_info.template(tensor, info)
            self.carried.infos.setdefault((role, uid(tensor)), []).append(kept)
            if kept is not None:
                self.carried.types[uid(tensor)] = value_info.signature(tensor)
        return graph

    def graph(self, proto: GraphProto, outer: Scope | None) -> gs.Graph:
        """A graph; tensors that it captures are the objects of the scopes around it."""
        kept = CarriedGraph(rest=copy_fields(proto, GraphProto(), skip=_GRAPH_LISTS))
        local = Scope(outer)
        constants = self._initializers(proto, local)
        inputs = []
        for info in proto.input:
            tensor = local.setdefault(info.name, gs.Variable(info.name))
            if not isinstance(tensor, gs.Constant):
                inputs.append(tensor)
            self._note("input", tensor, info)
            kept.inputs.append(uid(tensor))
        for node in proto.node:
            for name in node.output:
                if name and name not in local:
                    local[name] = gs.Variable(name)
        outputs = []
        for info in proto.output:
            tensor = local.find(info.name)
            if tensor is None:
                tensor = local[info.name] = gs.Variable(info.name)
            outputs.append(tensor)
            self._note("output", tensor, info)
        self._values(proto.value_info, local, kept)
        self.known_names.update(local)
        nodes = [self.node(node, local) for node in proto.node]
        graph = gs.Graph(nodes, inputs, outputs, proto.name, proto.doc_string, self.opset,
                         list(self.carried.header.opset_import))  # fmt: skip
        head = self.carried.header
        graph.ir_version = head.ir_version
        graph.producer_name, graph.producer_version = head.producer_name, head.producer_version
        read = {id(t) for t in outputs}
        for place, constant in enumerate(constants):
            self.carried.home[uid(constant)] = (uid(graph), place)
            if not constant.outputs and id(constant) not in read:
                kept.unused[uid(constant)] = constant
        kept.annotations += self._annotations(proto, local)
        self.carried.graphs[uid(graph)] = kept
        return graph

    def _initializers(self, proto: GraphProto, local: Scope) -> list[gs.Constant]:
        made = [(t.name, StoredValues(t, self.path)) for t in proto.initializer]
        made += [(s.values.name, StoredSparse(s, self.path)) for s in proto.sparse_initializer]
        for name, stored in made:
            if name in local:
                raise ModelFileError(f"two initializers are called '{name}'")
            local[name] = self._constant(name, stored)
        return list(local.values())

    def _constant(self, name: str, stored: StoredValues | StoredSparse) -> gs.Constant:
        constant = gs.Constant(name, stored)
        self.carried.stored[uid(constant)] = stored
        return constant

    def _tensor(self, proto: TensorProto) -> gs.Constant:
        return self._constant(proto.name, StoredValues(proto, self.path))

    def _note(self, role: str, tensor: gs.Tensor, info: ValueInfoProto) -> None:
        if isinstance(tensor, gs.Variable):
            value_info.adopt(tensor, info)
        self.notes.append((role, tensor, info))

    def _values(self, infos: Iterable[ValueInfoProto], local: Scope, kept: CarriedGraph) -> None:
        for info in infos:
            tensor = local.find(info.name)
            if tensor is None:
                orphan = ValueInfoProto()
                orphan.CopyFrom(info)
                kept.values.append(orphan)
                self.known_names.add(info.name)
            else:
                self._note("value", tensor, info)
                kept.values.append(uid(tensor))

    def node(self, proto: NodeProto, scope: Scope) -> Node:
        """A node of the graph whose tensors are in *scope*."""
        values, templates = {}, {}
        for attribute in proto.attribute:
            value = attributes.decode(attribute, self._tensor, lambda g: self.graph(g, scope))
            values[attribute.name] = value
            kept = attributes.template(attribute, value)
            if kept is not None:
                templates[attribute.name] = kept
        node = Node(
            proto.op_type, proto.name, values,
            [self._use(name, scope) for name in proto.input],
            [scope[name] if name else gs.Variable.empty() for name in proto.output],
            proto.domain if proto.HasField("domain") else None, self.known_names,
        )  # fmt: skip
        self.known_names.add(node.name)
        extra = present(proto) - set(_NODE_OWN)
        if templates or extra - {"name"} or ("name" in extra and not proto.name):
            rest = copy_fields(proto, NodeProto(), skip=_NODE_OWN)
            names = {
                s.tensor_name: uid(tensor)
                for c in proto.device_configurations
                for s in c.sharding_spec
                if (tensor := scope.find(s.tensor_name)) is not None
            }
            self.carried.nodes[uid(node)] = CarriedNode(rest, templates, names)
        return node

    def _use(self, name: str, scope: Scope) -> gs.Tensor:
        if not name:
            return gs.Variable.empty()
        tensor = scope.find(name)
        if tensor is None:  # not valid; the checker says so, and nothing is lost
            tensor = scope[name] = gs.Variable(name)
        return tensor

    def _annotations(self, proto: GraphProto, scope: Scope) -> Iterable[CarriedAnnotation]:
        def find(name: str) -> int | None:
            tensor = scope.find(name)
            return None if tensor is None else uid(tensor)

        for annotation in proto.quantization_annotation:
            kept = type(annotation)()
            kept.CopyFrom(annotation)
            parameters = tuple(find(e.value) for e in kept.quant_parameter_tensor_names)
            yield CarriedAnnotation(kept, find(kept.tensor_name), parameters)
