"""Pictures from files, PIL images, arrays and tensors: sizes, channels, depth, rotation, and what is refused."""

from __future__ import annotations

import contextlib
import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import pellucid as pl
from pellucid.errors import DtypeError, EmptyError, OptionError, PictureError, ShapeError

RANDOM = np.random.default_rng(0)
COLOR = RANDOM.integers(0, 256, (6, 8, 3), dtype=np.uint8)
GRAY = RANDOM.integers(0, 256, (6, 8), dtype=np.uint8)
RGB = pl.Images()
L = pl.Images(mean=(0.0,), std=(1.0,))


def as_floats(pixels: np.ndarray) -> torch.Tensor:
    planes = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    return torch.from_numpy(planes.astype(np.float32) / 255)


@pytest.mark.parametrize(
    "given",
    [
        COLOR,
        [COLOR],
        COLOR[None],
        Image.fromarray(COLOR),
        torch.from_numpy(COLOR),
        torch.from_numpy(COLOR.transpose(2, 0, 1).copy()),
        COLOR.transpose(2, 0, 1),
        torch.from_numpy(COLOR.transpose(2, 0, 1).copy())[None],
    ],
    ids=["array", "list", "batch", "PIL", "tensor last", "tensor first", "array first", "tensor batch"],
)
def test_a_picture_however_it_comes(given: Any) -> None:
    torch.testing.assert_close(RGB.prepare(given), as_floats(COLOR)[None])


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "GIF", "WEBP", "PPM", "JPEG"])
def test_files_of_every_format(tmp_path: Path, form: str) -> None:
    path = tmp_path / "picture"
    Image.fromarray(GRAY).save(path, form, **({"lossless": True} if form == "WEBP" else {}))
    for way in (path, str(path), [path]):
        found = L.prepare(way)
        assert found.shape == (1, 1, 6, 8)
        if form != "JPEG":
            torch.testing.assert_close(found[0], as_floats(GRAY))


def test_several_pictures() -> None:
    torch.testing.assert_close(RGB.prepare([COLOR, Image.fromarray(COLOR)])[1], as_floats(COLOR))
    torch.testing.assert_close(L.prepare(np.stack([GRAY, GRAY]))[1], as_floats(GRAY))
    with pytest.raises(ShapeError, match="size"):
        RGB.prepare([COLOR, COLOR[:5]])
    assert pl.Images(size=(4, 4)).prepare([COLOR, COLOR[:5]]).shape == (2, 3, 4, 4)
    for nothing in ([], ()):
        with pytest.raises((EmptyError, DtypeError)):
            pl.Saliency()(pl.Model(torch.nn.Flatten(), inputs=RGB), nothing)


def test_mean_and_standard_deviation() -> None:
    images = pl.Images(mean=(0.5, 0.4, 0.3), std=(0.2, 0.1, 0.5))
    expected = (as_floats(COLOR) - torch.tensor([0.5, 0.4, 0.3])[:, None, None]) / torch.tensor([0.2, 0.1, 0.5])[
        :, None, None
    ]
    torch.testing.assert_close(images.prepare(COLOR)[0], expected)
    np.testing.assert_array_equal(images.pixels(images.prepare(COLOR)[0].numpy()), COLOR)
    for mean, std in (((0.5,), (0.1, 0.2)), ((0.5,), (0.0,)), ((0.5,), (-1.0,))):
        with pytest.raises(OptionError):
            pl.Images(mean=mean, std=std)


def test_floating_tensors_are_taken_as_they_are() -> None:
    x = torch.randn(2, 3, 6, 8)
    assert pl.Images(mean=(0.5,) * 3, std=(0.1,) * 3).prepare(x) is x
    assert RGB.prepare(x[0]).shape == (1, 3, 6, 8)
    with pytest.raises(DtypeError, match="uint8"):
        RGB.prepare(COLOR.astype(float))
    with pytest.raises(DtypeError, match="uint8"):
        RGB.prepare(COLOR.astype(int))


def test_resizing() -> None:
    images = pl.Images(size=(3, 5))
    expected = np.asarray(Image.fromarray(COLOR).resize((5, 3), Image.Resampling.BICUBIC))
    torch.testing.assert_close(images.prepare(COLOR)[0], as_floats(expected))
    assert pl.Images(size=(6, 8)).prepare(COLOR)[0].equal(as_floats(COLOR))


def test_a_turned_photograph_is_turned_back(tmp_path: Path) -> None:
    path = tmp_path / "turned.png"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.rot90(COLOR).copy()).save(path, exif=exif)
    torch.testing.assert_close(RGB.prepare(path)[0], as_floats(COLOR))


def test_pictures_of_other_modes(tmp_path: Path) -> None:
    palette = Image.fromarray(GRAY).convert("P")
    torch.testing.assert_close(L.prepare(palette)[0], as_floats(GRAY))
    for mode in ("1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr", "HSV", "PA"):
        picture = Image.fromarray(COLOR).convert("P" if mode == "PA" else mode).convert(mode)
        assert RGB.prepare(picture).shape == (1, 3, 6, 8)
        assert L.prepare(picture).shape == (1, 1, 6, 8)
        picture = picture.convert("RGBA" if mode == "PA" else mode)
    torch.testing.assert_close(L.prepare(COLOR)[0], as_floats(np.asarray(Image.fromarray(COLOR).convert("L"))))
    rgba = np.dstack([COLOR, np.full((6, 8), 7, np.uint8)])
    torch.testing.assert_close(RGB.prepare(rgba)[0], as_floats(COLOR))
    torch.testing.assert_close(RGB.prepare(GRAY)[0], as_floats(np.dstack([GRAY] * 3)))


def test_sixteen_bits_a_pixel_are_scaled_not_cut(tmp_path: Path) -> None:
    deep = GRAY.astype(np.uint16) * 257
    path = tmp_path / "deep.png"
    Image.fromarray(deep).save(path)
    torch.testing.assert_close(L.prepare(path)[0], as_floats(GRAY))
    with pytest.raises(PictureError, match="floating"):
        L.prepare(Image.fromarray(GRAY.astype(np.float32)))


def png_header(width: int, height: int) -> bytes:
    """A PNG that says how large it is and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    ihdr = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", ihdr) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [7_072, 10_000, 13_000, 40_000, 2**31 - 1])
def test_huge_pictures_are_refused_before_their_pixels_are_read(tmp_path: Path, side: int) -> None:
    """From just over 50 megapixels up; Pillow's own warnings and errors in between do not come through."""
    path = tmp_path / "huge.png"
    path.write_bytes(png_header(side, side))
    with pytest.raises(PictureError) as caught:
        RGB.prepare(path)
    assert "megapixels" in caught.value.do


@pytest.mark.parametrize("make", ["cut", "noise", "text", "empty", "svg", "flipped", "folder", "missing"])
def test_broken_pictures(tmp_path: Path, make: str) -> None:
    buffer = io.BytesIO()
    Image.fromarray(RANDOM.integers(0, 256, (50, 50, 3), dtype=np.uint8)).save(buffer, "PNG")
    whole = buffer.getvalue()
    path = tmp_path / "broken.png"
    contents = {
        "cut": whole[: len(whole) // 2],
        "noise": whole[:8] + RANDOM.bytes(200),
        "text": b"not a picture",
        "empty": b"",
        "svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        "flipped": whole[:3000] + bytes(each ^ 255 for each in whole[3000:3100]) + whole[3100:],
    }
    if make in contents:
        path.write_bytes(contents[make])
    elif make == "folder":
        path.mkdir()
    with pytest.raises(PictureError) as caught:
        RGB.prepare(path)
    assert caught.value.expected
    assert "broken.png" in caught.value.got
    assert caught.value.do


@given(cut=st.integers(0, 4000), at=st.integers(0, 4000), flip=st.integers(1, 255))
def test_damaged_files_are_pictures_or_picture_errors(
    tmp_path_factory: pytest.TempPathFactory, cut: int, at: int, flip: int
) -> None:
    buffer = io.BytesIO()
    Image.fromarray(COLOR).save(buffer, "PNG")
    damaged = bytearray(buffer.getvalue()[: cut or None])
    damaged[at % len(damaged)] ^= flip
    path = tmp_path_factory.mktemp("pictures") / "x.png"
    path.write_bytes(damaged)
    with contextlib.suppress(PictureError):
        assert pl.Images(size=(4, 4)).prepare(path).shape == (1, 3, 4, 4)


@pytest.mark.parametrize("given", [b"bytes", 3, object(), {1, 2}, np.zeros((0, 4), np.uint8), np.zeros(4, np.uint8)])
def test_what_is_no_picture(given: Any) -> None:
    with pytest.raises((DtypeError, PictureError, EmptyError)):
        RGB.prepare(given)


def test_maps_lie_on_the_picture() -> None:
    images = pl.Images(mean=(0.5,), std=(0.5,))
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 2))
    result = pl.InputXGradient()(pl.Model(net, inputs=images), GRAY)
    figure = result.figure()
    assert figure.under.shape == (6, 8, 3)
    np.testing.assert_array_equal(figure.under[..., 0], GRAY)
    np.testing.assert_allclose(figure.values, result.values[0, 0].numpy())
    assert images.input_figure(result.input_array()).pixels.shape == (6, 8, 3)


@pytest.mark.parametrize("shape", [(5, 6, 7), (5, 6, 7, 1), (5, 6, 7, 3), (5, 3, 6, 7)])
def test_many_pictures_at_once_are_the_same_as_one_by_one(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    gray = shape[-1] == 1 or len(shape) == 3
    images = pl.Images(mean=(0.4,), std=(0.2,)) if gray else pl.Images(mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.1))
    together = images.prepare(pixels)
    assert together.shape == (5, 1 if gray else 3, 6, 7)
    assert torch.equal(together, torch.cat([images.prepare(each) for each in pixels]))
