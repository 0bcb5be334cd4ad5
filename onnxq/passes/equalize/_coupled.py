"""Which variables are coupled: connected components, on arrays, since channels are many."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from onnxq.passes.equalize._ends import Ids


def coupled(count: int, links: Iterable[tuple[Ids, Ids]]) -> Ids:
    """By variable, of 0 … *count* - 1, the smallest that it is coupled to, int64 [count].

    *links* couple variables one against one, [n] and [n].

    Every variable takes the smallest label among those that it is linked to; labels of labels are
    followed in between, so that few rounds do even for long chains.
    Source: Shiloach and Vishkin 1982, "An O(log n) Parallel Connectivity Algorithm".
    """
    label = np.arange(count)
    pairs = [pair for pair in links if pair[0].size]
    if not pairs:
        return label
    one, two = (np.concatenate(side) for side in zip(*pairs, strict=True))
    while True:
        least = np.minimum(label[one], label[two])
        if (label[one] == least).all() and (label[two] == least).all():
            return label
        for side in (one, two):
            np.minimum.at(label, label[side], least)  # also what stood for it before
            np.minimum.at(label, side, least)
        while (label[label] != label).any():
            label = label[label]
