"""Make a large calibration archive from a small one: ``python stretch.py IN.npz OUT.npz N``.

Sample i is sample i mod n of the small one times a factor between 0.8 and 1.2, so that all differ.
"""

from __future__ import annotations

import sys

import numpy as np


def main(source: str, out: str, n: int) -> None:
    with np.load(source) as found:
        arrays = {key: found[key] for key in found.files}
    random = np.random.default_rng(0)
    factors = random.uniform(0.8, 1.2, n).astype(np.float32)
    stretched = {}
    for key, array in arrays.items():
        repeated = array[np.arange(n) % len(array)]
        if repeated.dtype.kind == "f":
            repeated *= factors.reshape(-1, *[1] * (repeated.ndim - 1)).astype(repeated.dtype)
        stretched[key] = repeated
    np.savez(out, **stretched)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
