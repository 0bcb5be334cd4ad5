"""How an image file becomes a model's input.

Grammar, comma separated, in any order (or a TOML file with the same keys):

    resize=256          shorter side, aspect kept; resize=HxW both sides
    crop=224            centre crop; crop=HxW
    letterbox=HxW       fitted into the top left, aspect kept, the rest filled with `fill` (114)
    rgb | bgr | gray    order of channels (TOML: color = "rgb"); default rgb
    scale=1/255         factor on pixels 0..255; default 1
    mean=a:b:c          subtracted after scaling, one for all or one a channel
    std=a:b:c           divided by, after that
    nchw | nhwc         layout (TOML: layout = "nchw"); default nchw
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from onnxq.errors import DataError, OptionError, UnknownNameError

Size = tuple[int, int]
_FLAGS = {
    "rgb": "color", "bgr": "color", "gray": "color", "nchw": "layout", "nhwc": "layout",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Preprocess:
    """Steps from an image file to a batch of one; see the grammar above.

    Attributes:
        resize: an int for the shorter side, or (height, width).
        crop, letterbox: (height, width).
        fill: the pixel value around a letterboxed image.
        color: "rgb", "bgr" or "gray".
        scale: factor on pixels.
        mean, std: one number, or one a channel.
        layout: "nchw" or "nhwc".
    """

    resize: int | Size | None = None
    crop: Size | None = None
    letterbox: Size | None = None
    fill: int = 114
    color: str = "rgb"
    scale: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    layout: str = "nchw"

    def __post_init__(self) -> None:
        for key, value in (("color", self.color), ("layout", self.layout)):
            if _FLAGS.get(value) != key:
                raise UnknownNameError(key, value, [f for f, k in _FLAGS.items() if k == key])
        channels = 1 if self.color == "gray" else 3
        for key, numbers in (("mean", self.mean), ("std", self.std)):
            if len(numbers) not in (1, channels):
                raise OptionError(
                    f"preprocess: {key} has {len(numbers)} numbers, 1 or {channels} fit"
                )
        if not all(self.std):
            raise OptionError("preprocess: std holds a zero")

    def __call__(self, path: Path) -> NDArray[np.float32]:
        """The image file *path* as float32 [1, C, H, W] or [1, H, W, C].

        Raises:
            DataError: it is no readable image.
        """
        try:
            with Image.open(path) as file:
                image = file.convert("L" if self.color == "gray" else "RGB")
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            raise DataError(f"{path} is no readable image", why=str(error)) from error
        pixels = np.asarray(self._sized(image), np.float32)
        pixels = pixels[..., None] if pixels.ndim == 2 else pixels
        if self.color == "bgr":
            pixels = pixels[..., ::-1]
        x = (pixels * self.scale - np.array(self.mean)) / np.array(self.std)
        if self.layout == "nchw":
            x = x.transpose(2, 0, 1)
        return np.ascontiguousarray(x[None], np.float32)

    def _sized(self, image: Image.Image) -> Image.Image:
        if self.resize is not None:
            if isinstance(self.resize, int):
                factor = self.resize / min(image.size)
                width, height = (max(1, round(side * factor)) for side in image.size)
            else:
                height, width = self.resize
            image = image.resize((width, height), Image.Resampling.BILINEAR)
        if self.crop is not None:
            height, width = self.crop
            left, top = (image.width - width) // 2, (image.height - height) // 2
            image = image.crop((left, top, left + width, top + height))
        if self.letterbox is not None:
            height, width = self.letterbox
            factor = min(height / image.height, width / image.width)
            inner = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
            canvas = Image.new(image.mode, (width, height), (self.fill,) * len(image.getbands()))
            canvas.paste(image.resize(inner, Image.Resampling.BILINEAR))
            image = canvas
        return image


def parse_preprocess(text: str) -> Preprocess:
    """The steps that *text* names: the grammar above, or the path of a TOML file.

    Raises:
        UnknownNameError: an unknown key.
        OptionError: a value that does not fit its key, or an unreadable file.
    """
    if text.endswith(".toml"):
        try:
            return _build(tomllib.loads(Path(text).read_text(encoding="utf-8")))
        except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise OptionError(f"preprocess: {text} cannot be read", why=str(error)) from error
    options: dict[str, Any] = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        key, equals, value = (s.strip() for s in part.partition("="))
        if not equals and key in _FLAGS:
            key, value = _FLAGS[key], key
        elif not equals:
            raise UnknownNameError("preprocess step", key, [*_FLAGS, *_KEYS])
        if key in options:
            raise OptionError(f"preprocess: {key} is given twice")
        options[key] = value
    return _build(options)


_KEYS = tuple(f.name for f in fields(Preprocess))


def _build(options: Mapping[str, Any]) -> Preprocess:
    built: dict[str, Any] = {}
    for key, value in options.items():
        if key not in _KEYS:
            raise UnknownNameError("preprocess step", key, [*_FLAGS, *_KEYS])
        try:
            built[key] = _value(key, value)
        except (ValueError, TypeError, ZeroDivisionError) as error:
            raise OptionError(
                f"preprocess: {key}={value} cannot be used", why=str(error)
            ) from error
    return Preprocess(**built)


def _value(key: str, value: Any) -> Any:
    if key in ("color", "layout"):
        return str(value)
    if key in ("mean", "std"):
        parts: Iterable[Any] = value.split(":") if isinstance(value, str) else value
        return tuple(_number(p) for p in (parts if isinstance(parts, (list, tuple)) else [parts]))
    if key == "scale":
        return _number(value)
    if key == "fill":
        return int(value)
    sides = value.lower().split("x") if isinstance(value, str) else value
    numbers = [int(s) for s in (sides if isinstance(sides, list) else [sides])]
    if len(numbers) not in (1, 2) or min(numbers) < 1:
        raise ValueError("a size is N or HxW, positive")
    if key == "resize" and len(numbers) == 1:
        return numbers[0]
    return numbers[0], numbers[-1]


def _number(value: Any) -> float:
    return float(Fraction(value.strip()) if isinstance(value, str) else value)
