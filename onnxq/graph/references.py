"""Carried data that names tensors: kept in step with renames, refused where a tensor is gone."""

from __future__ import annotations

from collections.abc import Mapping, Set

import onnx_graphsurgeon as gs
from onnx import GraphProto, ModelProto, NodeProto

from onnxq.errors import OnnxqError
from onnxq.graph.carried import CarriedAnnotation


def fill_annotations(
    proto: GraphProto, annotations: list[CarriedAnnotation], live: Mapping[int, gs.Tensor]
) -> None:
    """Write quantization annotations; those of tensors that are gone go too.

    Raises:
        OnnxqError: a parameter of a tensor that is still there is gone.
    """
    for item in annotations:
        if item.tensor is not None and item.tensor not in live:
            continue
        kept = proto.quantization_annotation.add()
        kept.CopyFrom(item.proto)
        if item.tensor is not None:
            kept.tensor_name = live[item.tensor].name
        for entry, number in zip(kept.quant_parameter_tensor_names, item.parameters, strict=True):
            if number is None:
                continue
            if number not in live:
                _gone(
                    f"the quantization annotation of tensor '{kept.tensor_name}'",
                    entry.value,
                    "remove the annotation (Model.drop_annotations) before its tensors",
                )
            entry.value = live[number].name


def fill_devices(proto: NodeProto, names: Mapping[str, int], live: Mapping[int, gs.Tensor]) -> None:
    """Rewrite tensor names in the device configurations of a node.

    Raises:
        OnnxqError: a tensor that a configuration shards is gone.
    """
    for configuration in proto.device_configurations:
        for spec in configuration.sharding_spec:
            number = names.get(spec.tensor_name)
            if number is None:
                continue
            if number not in live:
                _gone(
                    f"the device configuration of node '{proto.name}'",
                    spec.tensor_name,
                    "partition the model for devices after quantizing it",
                )
            spec.tensor_name = live[number].name


def check_bindings(proto: ModelProto, live: Set[str]) -> None:
    """Training information names main-graph tensors, which have to be there.

    Raises:
        OnnxqError: one that it names is gone.
    """
    for info in proto.training_info:
        own = {t.name for t in info.algorithm.initializer}
        for entry in (*info.initialization_binding, *info.update_binding):
            if entry.key not in live and entry.key not in own:
                _gone(
                    "the training information",
                    entry.key,
                    "remove it first: Model.header.ClearField('training_info')",
                )


def _gone(what: str, name: str, hint: str) -> None:
    raise OnnxqError(
        f"{what} names tensor '{name}', which is gone", why="it cannot be kept", hint=hint
    )
