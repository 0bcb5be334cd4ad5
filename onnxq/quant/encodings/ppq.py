"""JSON of scales as PPQ exports it beside an ONNX model.

``configs`` name, for each operation and each tensor at it, the width and limits of codes and a key;
``values`` have scale and zero point by that key. Source: PPQ's public export format.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from onnxq.quant.encodings.encoding import Encoding


def write(encodings: Iterable[Encoding], users: Mapping[str, str]) -> str:
    """*encodings* as JSON.

    Args:
        encodings: what to write; zero points are those of unsigned codes unless symmetric.
        users: for each tensor, the operation that is named beside it.
    """
    configs: dict[str, dict[str, Any]] = {}
    values: dict[str, Any] = {}
    for key, encoding in enumerate(encodings):
        least = -(1 << (encoding.bits - 1)) if encoding.symmetric else 0
        configs.setdefault(users.get(encoding.name, ""), {})[encoding.name] = {
            "bit_width": encoding.bits,
            "policy": {
                "PER_TENSOR": encoding.scale.size == 1, "PER_CHANNEL": encoding.scale.size > 1,
                "SYMMETRICAL": encoding.symmetric, "ASYMMETRICAL": not encoding.symmetric,
                "LINEAR": True,
            },
            "state": "BAKED" if encoding.weight else "ACTIVATED",
            "quant_min": least,
            "quant_max": least + (1 << encoding.bits) - 1,
            "hash": key,
            "dominator": key,
        }  # fmt: skip
        values[str(key)] = {
            "scale": [float(s) for s in encoding.scale],
            "zero_point": [int(least - o) for o in encoding.offset],
        }
    return json.dumps({"configs": configs, "values": values}, indent=1) + "\n"


def read(found: Mapping[str, Any]) -> list[Encoding]:
    """The encodings of such a file, each tensor once.

    Raises:
        KeyError, TypeError, ValueError: it is no such file.
    """
    made: dict[str, Encoding] = {}
    for tensors in found["configs"].values():
        for name, config in tensors.items():
            value = found["values"].get(str(config.get("dominator", config["hash"])))
            value = value or found["values"].get(str(config["hash"]))
            if value is None or name in made:
                continue
            scale = np.array(value["scale"], np.float32).reshape(-1)
            zero = np.array(value["zero_point"], np.float64).astype(np.int64).reshape(-1)
            made[name] = Encoding(
                name, scale, int(config["quant_min"]) - np.broadcast_to(zero, scale.shape),
                int(config["bit_width"]), bool(config["policy"].get("SYMMETRICAL", False)),
                config["state"] in ("BAKED", "PASSIVE_BAKED"),
            )  # fmt: skip
    return list(made.values())
