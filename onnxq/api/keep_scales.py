"""``keep_scales``: a call for a model that comes with fake quantization from training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import onnx_graphsurgeon as gs

from onnxq.api.calibration import Calibration, open_calibration
from onnxq.api.synthetic import Synthetic
from onnxq.errors import DataError, OptionError, UnsupportedModelError
from onnxq.graph import Model
from onnxq.passes._fake_qdq import fake_pair, remove_pair
from onnxq.passes.canonical._computed import Computed
from onnxq.passes.canonical._quant_nodes import expand_quant_nodes
from onnxq.passes.canonical.read_fake_quantization import ReadFakeQuantization
from onnxq.passes.emit.insert_qdq import InsertQdq
from onnxq.passes.plan._trained import activation_qparams
from onnxq.passes.plan.keep_trained_scales import KeepTrainedScales
from onnxq.passes.plan.lift_fake_quantization import LiftFakeQuantization
from onnxq.pipeline import Context, Pass, QuantPlan, Recipe, Stage
from onnxq.pipeline.equivalence import Compare, Outputs
from onnxq.quant import INT8, UINT8, Fixed, QParams, QuantSpec, Shared

_LEFT = frozenset({
    "equalize-entries", "equalize-exits", "keep-gated-depthwise", "keep-output-layers",
    "keep-wide-joins", "mix-weight-bits", "re-estimate-batchnorm", "widen-small-weights",
})  # fmt: skip
"""Passes that choose formats anew, or what stays in float, by what rounding costs."""
_CORRECT = frozenset({
    "choose-ranges", "legalize-shifts", "prove-accumulators", "quantize-biases", "quantize-weights",
})  # fmt: skip
"""Passes that correct no rounding: the network has learned to live with it."""

NOTES = ("kept from training", "calibrated, for training")
"""How the notes begin that say what was kept."""
TRAINED = (ReadFakeQuantization, LiftFakeQuantization, KeepTrainedScales)
"""The passes that ``with_trained`` adds."""


def with_trained(recipe: Recipe, *, calibrates: bool) -> Recipe:
    """*recipe* keeping trained scales; tensors without are calibrated, or stay float.

    Raises:
        OptionError: the recipe does not plan kernels, or does not put integers in.
    """
    passes: list[Pass] = [
        p
        for p in recipe.passes
        if p.stage is not Stage.EQUALIZE
        and p.name not in _LEFT
        and (p.stage is not Stage.CORRECT or p.name in _CORRECT)
    ]
    fill = KeepTrainedScales(fill="calibration" if calibrates else "float")
    _put(passes, "fold-constants", ReadFakeQuantization())
    _put(passes, "plan-kernels", LiftFakeQuantization(), Stage.PLAN)
    _put(passes, "choose-ranges", fill)
    return Recipe(tuple(passes), recipe.name)


def _put(passes: list[Pass], before: str, new: Pass, first: Stage | None = None) -> None:
    """Insert *new* in front of the pass *before*, and of all others of the stage *first*."""
    names = [p.name for p in passes]
    if before not in names:
        raise OptionError(f"--keep-scales needs the pass '{before}' in the recipe")
    at = names.index(before)
    if first is not None:
        at = min(i for i, p in enumerate(passes) if p.stage is first)
    passes.insert(at, new)


def compare_without_rounding(compare: Compare) -> Compare:
    """*compare* for models with fake quantization, which is left out in both.

    A value between two codes falls either way by its last bit: fusions would seem to change the
    function.
    """

    def compared(model: Model, *, optimize: bool = True) -> Outputs:
        plain = model.clone()
        known = Computed(plain)
        for node in list(plain.nodes()):
            if node.op == "DequantizeLinear" and node.outputs:
                found = fake_pair(node, known.value)
                if not isinstance(found, str):
                    remove_pair(plain, found)
        return compare(plain, optimize=optimize)

    return compared


def simulated(original: Model, ctx: Context) -> Model | None:
    """*original*, the fused float model, rounding what training has rounded.

    None where the model did not come with fake quantization, or nothing is quantized.
    """
    if not ctx.trained.read or not ctx.plan.nodes:
        return None
    grids: dict[str, QParams] = {}
    for name, grid in ctx.trained.activations.items():
        kind = INT8 if grid.low < 0 else UINT8
        found = activation_qparams(grid, QuantSpec(dtype=kind), None)
        if not isinstance(found, str):
            grids[name] = found
    model = original.clone()
    plan = QuantPlan(tensors={n: Fixed(q) for n, q in grids.items()}, rounded=set(grids))
    InsertQdq().run(model, replace(ctx, plan=plan, qparams=grids, integers={}, biases={}))
    return model


def prepare(model: Model) -> None:
    """Write what only training tools have as standard operators, in place.

    Raises:
        UnsupportedModelError: the model computes on codes, or a Quant node cannot be read.
    """
    found = [n for n in model.nodes() if _on_codes(n)]
    if found:
        raise UnsupportedModelError(
            f"'{found[0].name}' ({found[0].op}) computes on codes: the model is quantized already",
            why=f"{len(found)} such nodes; scales are kept of QuantizeLinear, DequantizeLinear, "
            "Quant and of arithmetic around Round",
            hint="export the model of the training, with fake quantization",
        )
    expand_quant_nodes(model)


def _on_codes(node: gs.Node) -> bool:
    """Whether *node* computes on codes, other than to make floats of them or codes of floats."""
    stored = ("DynamicQuantizeLinear", "MatMulNBits", "DynamicQuantizeLSTM", "GatherBlockQuantized")
    return node.op in stored or node.op.startswith("QLinear") or node.op.endswith("Integer")


def notes(ctx: Context) -> list[str]:
    """What was kept of training, and what was not; nothing where there was none."""
    if not (ctx.trained.activations or ctx.trained.weights):
        return []
    trained, tensors = ctx.trained, ctx.plan.tensors
    kept = [n for n in trained.activations if isinstance(tensors.get(n), Fixed | Shared)]
    activations = [(trained.activations[n].bits, 8) for n in kept]
    weights = [(bits, ctx.qparams[n].dtype.bits) for n, bits in trained.kept.items()]
    text = (
        f"{NOTES[0]}: grids of {len(kept)} of {len(trained.activations)} activations"
        f"{_narrow(activations)}, and of {len(weights)} weights{_narrow(weights)}; errors are "
        "those against the model with its fake quantization"
    )
    filled = [n for n, t in tensors.items() if isinstance(t, QuantSpec) and n not in ctx.integers]
    more = []
    if filled:
        few = ", ".join(filled[:5]) + (" …" if len(filled) > 5 else "")
        more = [f"{NOTES[1]} did not round them: {len(filled)} activations ({few})"]
    return [text, *more]


def _narrow(widths: Sequence[tuple[int, int]]) -> str:
    """In words, the grids of fewer than 8 bits; *widths* are those of grids and of their types."""
    counts = Counter((bits, stored) for bits, stored in widths if bits < 8)
    parts = [
        f"{n} of {bits} bits" + (f" in {stored}-bit types" if stored > bits else "")
        for (bits, stored), n in sorted(counts.items())
    ]
    return f" ({', '.join(parts)})" if parts else ""


@dataclass
class Untaught(Synthetic):
    """No data: what training did not round cannot be measured; the report is on random input."""

    def measure(self, model: Any, wanted: Any, samples: int | None = None) -> Any:
        """Refuse: there is nothing to measure on.

        Raises:
            DataError: always.
        """
        few = ", ".join([*wanted][:5])
        raise DataError(
            f"training did not round {few}, and there is no data to calibrate it",
            hint="--data FILE.npz, a folder, or module:function",
        )

    def finish(self, ctx: Context) -> None:
        """Note what the report is made on."""
        if self.report_source is None:
            ctx.journal.warn("no data: errors in this report are those on random input")

    def facts(self) -> dict[str, Any]:
        """The ``data`` part of the report."""
        return super().facts() | {"calibrated": None}


def opening(data_free: bool, untaught: bool) -> Callable[..., Calibration]:
    """What opens the data of a call."""
    if data_free:
        from onnxq.api.data_free import open_data_free  # a dozen modules that data does without

        return open_data_free
    return Untaught.opened if untaught else open_calibration
