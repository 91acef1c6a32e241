"""Pictures: files, PIL images, uint8 arrays, or tensors that are already what the module takes."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from pellucid.core.figure import Figure, Picture
from pellucid.core.modality.plain import Array, Modality, heat
from pellucid.errors import DtypeError, EmptyError, OptionError, PictureError, ShapeError

MOST_PIXELS = 50_000_000


@dataclass(frozen=True, kw_only=True, eq=False)
class Images(Modality):
    """Pictures (batch, channels, height, width), scaled to [0, 1], then ``(x − mean) / std`` per channel.

    A path, a PIL image or a uint8 array (height, width[, 3]) is resized to ``size`` (height, width) where given, scaled
    and normalized; a floating tensor is taken as it is: already what the module takes. One mean means gray.
    Raises PictureError for a file that is broken or over 50 megapixels; its dimensions are read before its pixels.

    Example:
        >>> import numpy as np
        >>> Images(mean=(0.5,), std=(0.5,)).prepare(np.full((8, 8), 255, np.uint8)).shape
        torch.Size([1, 1, 8, 8])
    """

    kind: ClassVar[str] = "image"
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "mean", tuple(float(each) for each in self.mean))
        object.__setattr__(self, "std", tuple(float(each) for each in self.std))
        if len(self.mean) != len(self.std) or min(self.std, default=0) <= 0:
            do = "Give one mean and one positive standard deviation a channel."
            raise OptionError(expected="mean and std of equal length, std > 0", got=f"{self.mean}, {self.std}", do=do)

    def prepare(self, given: Any) -> Any:
        if isinstance(given, Tensor) and given.is_floating_point():
            return given[None] if given.ndim == 3 else given
        if isinstance(given, dict | tuple):
            return given
        if isinstance(given, Tensor):
            given = given.cpu().numpy()
        given = self._channels_last(given)
        if self._ready(given):
            return self._normalized(given if given.ndim == 4 else given[..., None])
        many = given if self._many(given) else [given]
        if len(many) == 0:
            raise EmptyError(expected="at least one picture", got="none", do="Pass a picture.")
        pictures = [self._read(each) for each in many]
        if len(sizes := {tuple(each.shape[1:]) for each in pictures}) > 1:
            do = "Say pl.Images(size=(height, width)), or pass them one at a time."
            raise ShapeError(expected="pictures of one size", got=str(sorted(sizes)), do=do)
        return torch.stack(pictures)

    def _ready(self, given: Any) -> bool:
        """Whether these are many pictures as bytes that need neither resizing nor other channels."""
        if not isinstance(given, np.ndarray) or given.dtype != np.uint8 or not self._many(given) or 0 in given.shape:
            return False
        channels = given.shape[-1] if given.ndim == 4 else 1
        return channels == len(self.mean) and self.size in (None, given.shape[1:3])

    def _normalized(self, pixels: Any) -> Tensor:
        """Bytes (…, height, width, channels) as the module takes them."""
        floats = np.ascontiguousarray(np.moveaxis(pixels, -1, -3), dtype=np.float32)
        return (torch.from_numpy(floats / 255) - self._column(self.mean)) / self._column(self.std)

    def _channels_last(self, given: Any) -> Any:
        """Pixels as torch has them (…, channels, height, width) as (…, height, width, channels)."""
        if not isinstance(given, np.ndarray) or given.ndim < 3 or given.shape[-1] in (1, 3, 4):
            return given
        first = given.shape[-3] in (1, 3, 4) if given.ndim == 4 else given.shape[-3] == len(self.mean) == 3
        return np.moveaxis(given, -3, -1) if first else given

    def _many(self, given: Any) -> bool:
        if isinstance(given, np.ndarray):
            return given.ndim == 4 or (given.ndim == 3 and given.shape[-1] not in (1, 3, 4))
        return isinstance(given, Sequence) and not isinstance(given, str | bytes)

    def _read(self, given: Any) -> Tensor:
        from PIL import Image

        if isinstance(given, Tensor):
            if given.is_floating_point():
                return given
            given = self._channels_last(given.cpu().numpy())
        if isinstance(given, str | Path):
            picture = open_picture(Path(given))
        elif isinstance(given, np.ndarray):
            picture = Image.fromarray(eight_bit(given))
        elif isinstance(given, Image.Image):
            picture = given
        else:
            do = "Pass a path, a PIL image, a uint8 array (height, width, 3) or a floating tensor."
            raise DtypeError(expected="a picture", got=type(given).__name__, do=do)
        picture = shallow(picture).convert("L" if len(self.mean) == 1 else "RGB")
        if self.size is not None and picture.size != (self.size[1], self.size[0]):
            picture = picture.resize((self.size[1], self.size[0]), Image.Resampling.BICUBIC)
        pixels = np.asarray(picture)
        return self._normalized(pixels[..., None] if pixels.ndim == 2 else pixels)

    def _column(self, numbers: tuple[float, ...]) -> Tensor:
        return torch.tensor(numbers).reshape(-1, 1, 1)

    def pixels(self, inputs: Array) -> Array:
        """One row of inputs (channels, height, width), back as (height, width, 3) uint8."""
        mean, std = np.reshape(self.mean, (-1, 1, 1)), np.reshape(self.std, (-1, 1, 1))
        if len(self.mean) == inputs.shape[0]:
            shown = inputs * std + mean
        else:
            low, high = inputs.min(), inputs.max()
            shown = (inputs - low) / (high - low if high > low else 1)
        if shown.shape[0] not in (1, 3):
            shown = shown.mean(0, keepdims=True)
        shown = np.repeat(shown, 3, 0) if shown.shape[0] == 1 else shown
        return (shown.clip(0, 1) * 255).round().astype(np.uint8).transpose(1, 2, 0)

    def input_figure(self, inputs: Array) -> Figure:
        if inputs.ndim != 3:
            return super().input_figure(inputs)
        return Picture(
            title="input", pixels=self.pixels(inputs), alt=f"the picture, {inputs.shape[1]} by {inputs.shape[2]}"
        )

    def map_figure(
        self, values: Array, inputs: Array, *, title: str = "", limit: float | None = None, **rest: Any
    ) -> Figure:
        if values.ndim not in (2, 3) or inputs.ndim != 3:
            return super().map_figure(values, inputs, title=title, limit=limit, **rest)
        return heat(values, title=title, limit=limit, under=self.pixels(inputs))


def open_picture(path: Path) -> Any:
    """Open a picture file safely: dimensions first, EXIF rotation applied, no vector formats."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    formats = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
    do = f"Pass a {', '.join(formats)} file of at most {MOST_PIXELS // 10**6} megapixels."
    if not path.is_file():
        raise PictureError(expected="a picture file", got=f"no file named {path.name!r}", do="Check the path.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # told below, as an error
            opened = Image.open(path, formats=formats)
        with opened as picture:
            if picture.width * picture.height > MOST_PIXELS:
                raise PictureError(
                    expected="a picture of ordinary size", got=f"{picture.width} × {picture.height}", do=do
                )
            picture.load()
            return ImageOps.exif_transpose(picture)
    except PictureError:
        raise
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise PictureError(expected="a readable picture", got=f"{path.name!r}: {error}", do=do) from None


def shallow(picture: Any) -> Any:
    """A picture of 16 bits a pixel as one of 8; floating pixels are refused because their scale is not known."""
    from PIL import Image

    if picture.mode == "F":
        raise PictureError(expected="8 or 16 bits a pixel", got="floating pixels", do="Scale them to 0 … 255.")
    if not picture.mode.startswith("I"):
        return picture
    return Image.fromarray((np.asarray(picture).astype(float) / 257).round().clip(0, 255).astype(np.uint8))


def eight_bit(pixels: Array) -> Array:
    """An array as uint8 (height, width[, 3]); floats are refused because their scale is not known."""
    if pixels.dtype != np.uint8:
        do = "Pass uint8 pixels 0 … 255, or a floating torch tensor that is already what the module takes."
        raise DtypeError(expected="uint8 pixels", got=str(pixels.dtype), do=do)
    if pixels.ndim == 3 and pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    if pixels.ndim not in (2, 3) or 0 in pixels.shape:
        raise PictureError(expected="pixels (height, width[, 3])", got=str(pixels.shape), do="Pass one picture.")
    return pixels
