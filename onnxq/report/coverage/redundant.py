"""Whether a Relu or Clip before a QuantizeLinear does what the codes' range does anyway."""

from __future__ import annotations

import numpy as np
from onnx import NodeProto

from onnxq.report.coverage.conversions import INT8, UINT8, Conversion, Reader, type_text

_RANGES: dict[int, tuple[int, int]] = {UINT8: (0, 255), INT8: (-128, 127)}


def why_kept(clamp: NodeProto, quantizer: Conversion, reader: Reader) -> str:
    """Why the *clamp* cannot be dropped before *quantizer*; "" where it can."""
    if quantizer.dtype not in _RANGES:
        return ""  # another rule has it
    low, high = _RANGES[quantizer.dtype]
    if quantizer.scales > 1:
        return "its result has a scale for each channel"
    if quantizer.zero is None and quantizer.has_zero:
        return "the zero point is computed in the run"
    zero = 0 if quantizer.zero is None else int(quantizer.zero.reshape(-1)[0])
    if clamp.op_type == "Relu":
        if zero == low:
            return ""
        return f"codes below 0 occur: the zero point is {zero}, not {low} ({_type(quantizer)})"
    limits = _limits(clamp, reader)
    if limits is None:
        return "its limits are computed in the run"
    if quantizer.scale is None:
        return "the scale is computed in the run"
    scale = np.float32(quantizer.scale.reshape(-1)[0])
    least, most = float(scale * (low - zero)), float(scale * (high - zero))
    if limits[0] <= least and most <= limits[1]:
        return ""
    return f"codes reach {least:.4g} … {most:.4g}, beyond its {limits[0]:g} … {limits[1]:g}"


def _type(quantizer: Conversion) -> str:
    return type_text(quantizer.dtype)


def _limits(clip: NodeProto, reader: Reader) -> tuple[float, float] | None:
    given = {a.name: a.f for a in clip.attribute}
    bounds = [given.get("min", -np.inf), given.get("max", np.inf)]
    for slot, name in enumerate(clip.input[1:3]):
        if name:
            value = reader.value(name)
            if value is None or value.size != 1:
                return None
            bounds[slot] = float(value.reshape(-1)[0])
    return bounds[0], bounds[1]
