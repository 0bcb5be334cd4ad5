"""Tensors that share one scale and zero point, as connected components of the plan."""

from __future__ import annotations

from dataclasses import dataclass, replace

from onnxq.pipeline.plan import QuantPlan
from onnxq.quant import Fixed, QParams, QuantSpec, Shared


@dataclass(frozen=True)
class ScaleGroup:
    """Tensors of one scale.

    Attributes:
        tensors: all members, in the plan's order.
        rounded: the members that are rounded in their own right: what is shared by data movement
            is an exact copy. The range of the group follows from these.
        spec: the spec of the group, its limits those that all rounded members keep to.
        fixed: given parameters, where a member has them: nothing is left to choose.
    """

    tensors: tuple[str, ...]
    rounded: tuple[str, ...]
    spec: QuantSpec | None
    fixed: QParams | None = None


def scale_groups(plan: QuantPlan, constants: frozenset[str] = frozenset()) -> list[ScaleGroup]:
    """Groups of activation tensors of *plan*; *constants* (weights) are left out.

    Where the plan asks for one scale, all tensors of a format are one group.
    """
    together: dict[str, list[str]] = {}
    for name, planned in plan.tensors.items():
        if isinstance(planned, Shared):
            _link(together, name, planned.with_)
        elif isinstance(planned, QuantSpec | Fixed) and name not in constants:
            _link(together, name, name)
    if plan.one_scale:
        _link_alike(together, plan)
    groups: list[ScaleGroup] = []
    order = {name: i for i, name in enumerate(plan.tensors)}
    for component in {id(c): c for c in together.values()}.values():
        members = sorted(component, key=lambda name: order.get(name, len(order)))
        fixed = [f.qparams for m in members if isinstance(f := plan.tensors.get(m), Fixed)]
        if fixed:
            groups.append(ScaleGroup(tuple(members), (), None, fixed[0]))
            continue
        specs = {m: s for m in members if isinstance(s := plan.tensors.get(m), QuantSpec)}
        if specs:
            groups.append(ScaleGroup(tuple(members), tuple(specs), _joined(list(specs.values()))))
    return groups


def _joined(specs: list[QuantSpec]) -> QuantSpec:
    """The first spec, with the limits of all; None where a member has none."""
    known = [s.limits for s in specs if s.limits is not None]
    limits = None
    if len(known) == len(specs):
        limits = (min(low for low, _ in known), max(high for _, high in known))
    joined = replace(specs[0], limits=limits)
    if len(specs) > 1:  # what reads one of them does not read the others
        joined = replace(joined, floors=None, through=None, through_scale=1.0)
    return joined


def _link(together: dict[str, list[str]], one: str, other: str) -> None:
    """Join the lists, each held under all of its members, that *one* and *other* are in."""
    long, short = together.setdefault(one, [one]), together.setdefault(other, [other])
    if long is short:
        return
    if len(long) < len(short):
        long, short = short, long
    long += short
    together.update(dict.fromkeys(short, long))


def _link_alike(together: dict[str, list[str]], plan: QuantPlan) -> None:
    """Let all tensors of one format share a scale."""
    first: dict[tuple[object, ...], str] = {}
    for name in list(together):
        spec = plan.tensors.get(name)
        if isinstance(spec, QuantSpec):
            kind = (spec.dtype, spec.symmetric, spec.narrow_range, spec.scale)
            _link(together, first.setdefault(kind, name), name)
