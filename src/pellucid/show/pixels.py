"""Arrays as pictures: how large they are drawn, how maps are smoothed for display, and PNG files as addresses."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pellucid.core.figure import Heat
from pellucid.show.color import cover, index, neutral, pigment

SHOWN = 280
SHARP = 64
SMOOTH = 144
LARGEST = 256
LARGEST_PICTURE = 448
MOST_BYTES = 180_000
GHOST = 0.45
GHOST_SHARP = 0.2
SOFT = 0.35

Array = NDArray[Any]


def sharp(figure: Heat) -> bool:
    """Whether the cells of a map are shown as cells: on tiny pictures, and where there is no picture."""
    if figure.under is None:
        return min(figure.values.shape) <= SHARP
    return max(figure.under.shape[:2]) <= SHARP


def shape(figure: Heat) -> tuple[int, int]:
    """Height and width of a map as it is stored for display."""
    rows, columns = figure.values.shape
    if figure.under is None:
        return min(rows, LARGEST), min(columns, 2 * SHOWN)
    height, width = figure.under.shape[:2]
    if not sharp(figure) and max(rows, columns) < min(max(height, width), SMOOTH):
        return fit(height, width, SMOOTH)
    return fit(rows, columns, LARGEST)


def fit(rows: int, columns: int, most: int) -> tuple[int, int]:
    """Rows and columns, made smaller in proportion until neither is over ``most``."""
    scale = min(1.0, most / max(rows, columns, 1))
    return max(1, round(rows * scale)), max(1, round(columns * scale))


def frame(rows: int, columns: int) -> tuple[float, float]:
    """Width and height of a drawing about as large as ``SHOWN``; long strips are stretched to be seen.

    >>> frame(8, 8), frame(224, 224), frame(1, 200)
    ((280.0, 280.0), (280.0, 280.0), (560.0, 56.0))
    """
    ratio = rows / max(columns, 1)
    if ratio < 1 / 3:
        return 2.0 * SHOWN, float(np.clip(2 * SHOWN * ratio, 56, SHOWN))
    if ratio > 3:
        return float(np.clip(2 * SHOWN / ratio, 56, SHOWN)), 2.0 * SHOWN
    return float(SHOWN), SHOWN * ratio


def resized(values: Array, rows: int, columns: int) -> Array:
    """A map at another resolution: smoothed between cells when it grows, averaged over them when it shrinks."""
    values = np.nan_to_num(np.asarray(values, dtype=float), posinf=0.0, neginf=0.0)
    high, wide = values.shape
    values = along(along(values, rows, 0), columns, 1)
    if min(rows / high, columns / wide) < 2:
        return values
    from scipy.ndimage import gaussian_filter

    return np.asarray(gaussian_filter(values, (SOFT * rows / high, SOFT * columns / wide), mode="nearest"))


def along(values: Array, size: int, axis: int) -> Array:
    """A map with ``size`` cells along one axis. Growing never goes beyond the values of neighboring cells."""
    have = values.shape[axis]
    if have == size:
        return values
    if size < have:
        edges = np.linspace(0, have, size + 1)
        total = np.insert(np.cumsum(values, axis), 0, 0, axis)
        low = np.floor(edges).astype(int)
        part = np.expand_dims(edges - low, tuple(i for i in range(values.ndim) if i != axis))
        at = total.take(low, axis) * (1 - part) + total.take(np.minimum(low + 1, have), axis) * part
        return np.diff(at, axis=axis) * (size / have)
    if have == 1:
        return np.repeat(values, size, axis)
    from scipy.interpolate import PchipInterpolator

    centers = np.clip((np.arange(size) + 0.5) * have / size - 0.5, 0, have - 1)
    return np.asarray(PchipInterpolator(np.arange(have), values, axis=axis)(centers))


def peaks(figure: Heat, most: int = 3) -> list[tuple[float, float, int]]:
    """Where a signed map is strongest, as (x, y, sign) with places in 0 … 1: at most ``most`` of each sign."""
    if not figure.signed:
        return []
    coarse = resized(figure.values, *(min(each, 14) for each in figure.values.shape))
    rows, columns = coarse.shape
    top = np.abs(coarse).max()
    found = []
    for sign in (1, -1):
        left = sign * coarse
        for _ in range(most):
            row, column = np.unravel_index(int(left.argmax()), left.shape)
            if top == 0 or left[row, column] < 0.3 * top:
                break
            found.append(((column + 0.5) / columns, (row + 0.5) / rows, sign))
            left[max(0, row - 2) : row + 3, max(0, column - 2) : column + 3] = 0
    return found


def borders(labels: Array, most: int = LARGEST) -> tuple[list[tuple[int, int, int, int]], int, int]:
    """Lines (x0, y0, x1, y1) between cells of different labels, and the rows and columns they are counted in.

    >>> borders(np.array([[0, 1], [0, 1]]))
    ([(1, 0, 1, 2)], 2, 2)
    """
    high, wide = labels.shape
    rows, across = fit(high, wide, most)
    cells = np.asarray(labels)[np.arange(rows) * high // rows][:, np.arange(across) * wide // across]
    level = [(a, y + 1, b, y + 1) for y, a, b in runs(cells[1:] != cells[:-1])]
    upright = [(x + 1, a, x + 1, b) for x, a, b in runs((cells[:, 1:] != cells[:, :-1]).T)]
    return level + upright, rows, across


def runs(there: Array) -> list[tuple[int, int, int]]:
    """(row, first, end) of each unbroken stretch of True in the rows of an array."""
    change = np.diff(np.pad(there.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    (row, first), (_, end) = np.nonzero(change == 1), np.nonzero(change == -1)
    return list(zip(row.tolist(), first.tolist(), end.tolist(), strict=True))


def shown(figure: Heat) -> NDArray[np.uint8]:
    """A map as indexes at the resolution it is drawn with."""
    return index(resized(figure.values, *shape(figure)), figure.limit, figure.signed)


def gray(pixels: Array) -> Array:
    """The lightness of a picture, (height, width, 3) in 0 … 1."""
    light = np.asarray(pixels, dtype=float)[..., :3] @ (0.2126, 0.7152, 0.0722) / 255
    return np.repeat(light[..., None], 3, -1)


def composed(figure: Heat, dark: bool = False) -> NDArray[np.uint8]:
    """A map over the ghost of its picture, as one picture (height, width, 3)."""
    rows, columns = shape(figure)
    ground = neutral(dark)
    if figure.under is not None:
        high, wide = fit(len(figure.under), len(figure.under[0]), LARGEST)
        rows, columns = max(rows, high), max(columns, wide)
        under = image(figure.under).resize((columns, rows), 0 if sharp(figure) else 3)
        ghost = GHOST_SHARP if sharp(figure) else GHOST
        ground = (1 - ghost) * ground + ghost * gray(np.asarray(under))
    at = index(grown(figure, rows, columns), figure.limit, figure.signed)
    thick = cover(figure.signed, dark)[at][..., None]
    return np.rint(255 * (ground * (1 - thick) + pigment(figure.signed, dark)[at] * thick)).astype(np.uint8)


def grown(figure: Heat, rows: int, columns: int) -> Array:
    """The values of a map at a resolution given: cells repeated on tiny pictures, smoothed on others."""
    if not sharp(figure):
        return resized(figure.values, rows, columns)
    high, wide = figure.values.shape
    return figure.values[np.arange(rows) * high // rows][:, np.arange(columns) * wide // columns]


def image(pixels: Array) -> Any:
    """An array (height, width[, 3]) uint8 as a PIL image."""
    from PIL import Image

    pixels = np.asarray(pixels, dtype=np.uint8)
    return Image.fromarray(np.ascontiguousarray(pixels[..., :3] if pixels.ndim == 3 else pixels))


def png(pixels: Array) -> str:
    """The address of a picture (height, width[, 3]) uint8 that carries it within itself."""
    return address(image(pixels), "PNG", optimize=True)


def photo(pixels: Array) -> str:
    """The address of a picture, no larger than a page can carry: at most 448 pixels a side, JPEG where PNG is heavy."""
    picture = image(pixels)
    rows, columns = fit(picture.height, picture.width, LARGEST_PICTURE)
    if (columns, rows) != picture.size:
        picture = picture.resize((columns, rows), 1)
    exact = address(picture, "PNG", optimize=True)
    return exact if len(exact) < MOST_BYTES else address(picture, "JPEG", quality=88)


def address(picture: Any, form: str, **options: Any) -> str:
    """A PIL image as a data address."""
    file = io.BytesIO()
    picture.save(file, form, **options)
    return f"data:image/{form.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"
