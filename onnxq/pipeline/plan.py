"""The quantization plan: which node becomes an integer kernel, which tensor gets which spec."""

from __future__ import annotations

from dataclasses import dataclass, field

from onnxq.quant import TensorPlan, number_format


@dataclass(frozen=True)
class NodePlan:
    """A node that is to run on integers.

    Attributes:
        node: its name.
        kernel: the integer kernel expected of the runtime, such as ``"QLinearConv"``.
        inputs: indices of inputs that are quantized (weights and bias included).
        outputs: indices of outputs that are quantized; a kernel may leave its output in float.
        absorbs: names of following activation nodes that the quantized range makes redundant.
        adds: the Add behind it and the index of its constant, which becomes the node's bias.
    """

    node: str
    kernel: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...] = (0,)
    absorbs: tuple[str, ...] = ()
    adds: tuple[str, int] | None = None


@dataclass
class QuantPlan:
    """The plan of a model; planning passes fill it, emitting passes carry it out.

    Attributes:
        nodes: by node name, those that become integer kernels.
        tensors: by tensor name, how each is quantized.
        kept_float: by node name, why a candidate stays in floating point.
        excluded: by node name, why it must stay in float: the user's pattern, or its place.
        rounded: names of float tensors that are rounded for all that read them: training did.
        precisions: by node name, the precision that was asked for, see ``targets.PRECISIONS``.
        latency_aware: whether nodes that are slower on integers will stay in float.
        weights, activations, granularity: the user's defaults, None for the target's. Granularity
            ``"model"`` is one scale for all weights of layers and one for all activations.
    """

    nodes: dict[str, NodePlan] = field(default_factory=dict)
    tensors: dict[str, TensorPlan] = field(default_factory=dict)
    kept_float: dict[str, str] = field(default_factory=dict)
    excluded: dict[str, str] = field(default_factory=dict)
    rounded: set[str] = field(default_factory=set)
    precisions: dict[str, str] = field(default_factory=dict)
    latency_aware: bool = False
    weights: str | None = None
    activations: str | None = None
    granularity: str | None = None

    @property
    def floating(self) -> bool:
        """Whether weights or activations become floating-point numbers of few bits."""
        asked = (self.weights, self.activations)
        return any(number_format(kind).floating for kind in asked if kind is not None)

    @property
    def one_scale(self) -> bool:
        """Whether all weights share one scale, and all activations another."""
        return self.granularity == "model"

    def keep_float(self, node: str, reason: str) -> None:
        """Leave *node* in floating point; its first reason stays."""
        self.nodes.pop(node, None)
        self.kept_float.setdefault(node, reason)
