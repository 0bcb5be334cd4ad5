"""Write a torch module as ONNX, node by node, so that the file holds exactly what is stated here.

The usual exporters fold batch-norm into the convolutions; these networks must keep theirs.
"""

from __future__ import annotations

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

OPSET = 13
IR_VERSION = 8


class Residual(nn.Module):
    """``body(x) + shortcut(x)``."""

    def __init__(self, body: nn.Module, shortcut: nn.Module | None = None) -> None:
        super().__init__()
        self.body, self.shortcut = body, shortcut or nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x) + self.shortcut(x)


class _Writer:
    """Nodes and initializers in the order of the walk; names are the paths of the modules."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: list[onnx.TensorProto] = []

    def tensor(self, name: str, value: torch.Tensor | np.ndarray) -> str:
        array = value.detach().numpy() if isinstance(value, torch.Tensor) else value
        self.tensors.append(numpy_helper.from_array(np.array(array, order="C"), name))
        return name

    def node(self, op: str, name: str, inputs: list[str], **attributes: object) -> str:
        output = f"{name}.out"
        self.nodes.append(helper.make_node(op, inputs, [output], name=name, **attributes))
        return output

    def walk(self, module: nn.Module, name: str, x: str) -> str:
        """Add *module* on the tensor *x*; the name of its output."""
        if isinstance(module, nn.Sequential):
            for key, child in module.named_children():
                x = self.walk(child, f"{name}.{key}" if name else key, x)
            return x
        if isinstance(module, Residual):
            body = self.walk(module.body, name, x)
            shortcut = self.walk(module.shortcut, f"{name}.shortcut", x)
            return self.node("Add", f"{name}.add", [body, shortcut])
        if isinstance(module, nn.Identity):
            return x
        return self.layer(module, name, x)

    def layer(self, module: nn.Module, name: str, x: str) -> str:
        match module:
            case nn.Conv2d():
                inputs = [x, self.tensor(f"{name}.weight", module.weight)]
                if module.bias is not None:
                    inputs.append(self.tensor(f"{name}.bias", module.bias))
                return self.node(
                    "Conv", name, inputs, kernel_shape=list(module.kernel_size),
                    strides=list(module.stride), pads=[*module.padding, *module.padding],
                    group=module.groups,
                )  # fmt: skip
            case nn.BatchNorm2d():
                values = {
                    "scale": module.weight, "bias": module.bias,
                    "mean": module.running_mean, "var": module.running_var,
                }  # fmt: skip
                inputs = [x, *(self.tensor(f"{name}.{k}", v) for k, v in values.items())]
                return self.node("BatchNormalization", name, inputs, epsilon=module.eps)
            case nn.ReLU():
                return self.node("Relu", name, [x])
            case nn.ReLU6():
                low = self.tensor(f"{name}.min", np.float32(0))
                high = self.tensor(f"{name}.max", np.float32(6))
                return self.node("Clip", name, [x, low, high])
            case nn.MaxPool2d(kernel_size=k, stride=s, padding=p):
                return self.node(
                    "MaxPool", name, [x], kernel_shape=[k, k], strides=[s, s], pads=[p] * 4
                )
            case nn.AdaptiveAvgPool2d(output_size=1):
                return self.node("GlobalAveragePool", name, [x])
            case nn.Flatten():
                return self.node("Flatten", name, [x], axis=1)
            case nn.Linear():
                inputs = [x, self.tensor(f"{name}.weight", module.weight)]
                inputs.append(self.tensor(f"{name}.bias", module.bias))
                return self.node("Gemm", name, inputs, transB=1)
            case _:
                raise TypeError(f"{name}: no ONNX form is written down for {type(module).__name__}")


def to_onnx(
    net: nn.Sequential, name: str, image: tuple[int, int, int], classes: int = 10
) -> onnx.ModelProto:
    """*net* as a model from ``input`` float32 [N, *image*] to ``logits`` float32 [N, classes]."""
    writer = _Writer()
    last = writer.walk(net, "", "input")
    writer.nodes[-1].output[:] = ["logits"]
    assert last == f"{writer.nodes[-1].name}.out", "the last module must give the logits"
    graph = helper.make_graph(
        writer.nodes,
        name,
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", *image])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", classes])],
        writer.tensors,
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="onnxq models"
    )
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model, full_check=True)
    return model


def fold_batchnorm(net: nn.Sequential) -> nn.Sequential:
    """*net* (in eval mode) with every Conv-BatchNorm pair of a Sequential made one Conv."""
    children = list(net.named_children())
    kept: dict[str, nn.Module] = {}
    for key, child in children:
        previous = next(reversed(kept), None)
        if isinstance(child, nn.BatchNorm2d) and previous is not None:
            kept[previous] = nn.utils.fuse_conv_bn_eval(kept[previous], child)
        elif isinstance(child, nn.Sequential):
            kept[key] = fold_batchnorm(child)
        elif isinstance(child, Residual):
            kept[key] = Residual(fold_batchnorm(child.body), child.shortcut)
        else:
            kept[key] = child
    folded = nn.Sequential()
    for key, child in kept.items():
        folded.add_module(key, child)
    return folded.eval()
