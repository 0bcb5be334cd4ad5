"""Scales as other tools write them: AIMET and QNN, PPQ, TensorRT; a format a file, both ways."""

from __future__ import annotations

import json

from onnxq.quant.encodings import aimet, ppq, tensorrt
from onnxq.quant.encodings.encoding import Encoding

__all__ = ["Encoding", "aimet", "ppq", "read_encodings", "tensorrt"]


def read_encodings(text: str) -> list[Encoding] | None:
    """The encodings in *text*, whatever tool wrote it; None where it is no file of encodings.

    Raises:
        ValueError: it begins as one, and is none.
    """
    if tensorrt.is_cache(text):
        return tensorrt.read(text)
    if not text.lstrip().startswith("{"):
        return None
    found = json.loads(text)
    try:
        if any(part in found for part in aimet.PARTS):
            return aimet.read(found)
        if "configs" in found and "values" in found:
            return ppq.read(found)
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError(f"an entry lacks {error}") from error
    raise ValueError("neither encodings of AIMET ('activation_encodings') nor PPQ's ('configs')")
