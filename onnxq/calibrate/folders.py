"""A folder as data: array files, or images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from onnxq.calibrate.stacks import cut, file_stacks, samples
from onnxq.errors import DataError, OptionError
from onnxq.runtime.session import InputInfo

IMAGES = frozenset((".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm"))
ARRAYS = frozenset((".npz", ".npy"))


def folder_samples(
    folder: Path, inputs: Sequence[InputInfo], preprocess: str | None
) -> tuple[Callable[[int], Iterator[Any]], int, bool]:
    """What starts a pass over *folder*, how many samples it gives, and whether it repeats cheaply.

    Files are taken in the order of their paths, sub-folders included; other files are no data.

    Raises:
        DataError: no data, both kinds, or images for a model of several inputs.
        OptionError: images without *preprocess*, or arrays with it.
    """
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    arrays = [p for p in files if p.suffix.lower() in ARRAYS]
    images = [p for p in files if p.suffix.lower() in IMAGES]
    if arrays and images:
        raise DataError(
            f"folder {folder} holds both arrays and images",
            why=f"{arrays[0].name} and {images[0].name}, for example",
            hint="a folder of one kind",
        )
    if images:
        if len(inputs) != 1:
            raise DataError(f"folder {folder}: images, but the model has {len(inputs)} inputs")
        if preprocess is None:
            raise OptionError(
                f"folder {folder} holds images, and how they become inputs is not given",
                hint="--preprocess 'resize=256,crop=224,rgb,scale=1/255,nchw', as in training",
            )
        from onnxq.calibrate.preprocess import parse_preprocess  # Pillow: for images alone

        steps, wanted = parse_preprocess(preprocess), inputs[0].dtype

        def decode(first: int) -> Iterator[Any]:
            for path in images[first:]:
                x = steps(path)
                yield x if wanted is None or wanted.kind == "f" else x.round().astype(wanted)

        return decode, len(images), False
    if not arrays:
        raise DataError(f"folder {folder} holds no .npz, .npy or image files")
    if preprocess is not None:
        raise OptionError(f"folder {folder} holds arrays: preprocess steps are for images")

    def read(first: int) -> Iterator[Any]:
        for path in arrays:
            if first < counts[path]:
                yield from samples(file_stacks(path, inputs), inputs, first)
            first = max(0, first - counts[path])

    counts = {path: cut(file_stacks(path, inputs), inputs, str(path)) for path in arrays}
    return read, sum(counts.values()), True
