import io
import struct
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray

from featx.errors import ItemError, ManifestError
from featx.modality.image import Image, decode
from featx.zoo.manifest import ImageOptions, Manifest

RNG = np.random.default_rng(3)
PIXELS = RNG.integers(0, 256, (40, 60, 3), dtype=np.uint8)


def options(
    size: tuple[int, ...] = (8, 8),
    resize: Literal["shortest", "stretch", "pad", "none"] = "shortest",
    crop_fraction: float = 1.0,
    channel_order: Literal["rgb", "bgr"] = "rgb",
    decode: Literal["exact", "fast"] = "exact",
) -> ImageOptions:
    return ImageOptions(
        size=size,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        resize=resize,
        crop_fraction=crop_fraction,
        interpolation="bilinear",
        channel_order=channel_order,
        decode=decode,
    )


def build(image: ImageOptions | None) -> Image:
    return Image(
        Manifest(
            schema=1,
            name="tiny",
            modality="image",
            summary="",
            license="",
            source="",
            weights="tiny",
            dim=4,
            pooling="none",
            normalize=False,
            image=image,
        )
    )


def tensor(image: Image, raw: bytes) -> NDArray[Any]:
    """Return what the graph is fed with: (1, 3, H, W)."""
    return image.collate([image.load(raw)])["image"]


def encode(image: PIL.Image.Image, kind: str = "PNG", **extra: Any) -> bytes:  # noqa: ANN401
    file = io.BytesIO()
    image.save(file, kind, **extra)
    return file.getvalue()


def pixels_of(raw: bytes, height: int, width: int) -> NDArray[np.float32]:
    """Load without resizing, as (H, W, 3)."""
    array = tensor(build(options((height, width), "stretch")), raw)
    return np.asarray(array[0].transpose(1, 2, 0), dtype=np.float32)


def test_the_shortest_side_is_resized_and_the_centre_cropped() -> None:
    found = tensor(build(options((8, 8), crop_fraction=0.8)), encode(PIL.Image.fromarray(PIXELS)))

    resized = np.asarray(PIL.Image.fromarray(PIXELS).resize((15, 10), PIL.Image.Resampling(2)))
    expected = resized[1:9, 4:12].transpose(2, 0, 1)  # round(3.5) is 4
    assert np.abs(found[0] - expected).max() <= 1  # what is kept is resized, not the whole
    assert (found[0] == expected).mean() > 0.99
    assert found.dtype == np.float32


def test_pixels_are_normalised_in_the_order_of_the_channels() -> None:
    table = ImageOptions(
        size=(40, 60), mean=(1, 2, 3), std=(2, 4, 8), resize="stretch", channel_order="bgr"
    )

    found = tensor(build(table), encode(PIL.Image.fromarray(PIXELS)))

    expected = (PIXELS[..., ::-1] - np.array([1.0, 2, 3])) / np.array([2, 4, 8])
    np.testing.assert_allclose(found[0], expected.transpose(2, 0, 1), rtol=1e-6)


def test_padding_is_zero_after_normalisation() -> None:
    found = tensor(build(options((60, 60), "pad")), encode(PIL.Image.fromarray(PIXELS)))

    expected = np.zeros((60, 60, 3))
    expected[10:50] = PIXELS
    np.testing.assert_array_equal(found[0], expected.transpose(2, 0, 1))


@pytest.mark.parametrize("resize", ["none", "pad", "shortest", "stretch"])
def test_an_image_is_resized_as_asked_and_cropped_or_filled_at_the_centre(
    resize: Literal["none", "pad", "shortest", "stretch"],
) -> None:
    table = replace(options((45, 20), resize), fill=(7.0, 8.0, 9.0))
    table = table if resize == "none" else replace(table, resize_to=(30, 24))

    found = tensor(build(table), encode(PIL.Image.fromarray(PIXELS)))[0]

    sizes = {"none": (60, 40), "pad": (24, 16), "shortest": (45, 30), "stretch": (24, 30)}
    whole = PIL.Image.fromarray(PIXELS).resize(sizes[resize], PIL.Image.Resampling.BILINEAR)
    left, rows = round((whole.width - 20) / 2), whole.height
    expected = np.tile(np.array([7, 8, 9]), (45, 20, 1))
    top = (45 - rows) // 2
    expected[top : top + rows] = np.asarray(whole)[:, left : left + 20]
    np.testing.assert_allclose(found, expected.transpose(2, 0, 1), atol=1)  # cropped first


@pytest.mark.parametrize(
    ("rounding", "side", "left"),
    [("nearest", 14, 2), ("torchvision", 13, 2), ("transformers", 13, 1)],
)
def test_long_sides_and_first_pixels_are_rounded_as_asked(
    rounding: Literal["nearest", "torchvision", "transformers"], side: int, left: int
) -> None:
    table = replace(options((9, 10)), rounding=rounding, resize_to=(9,))

    found = tensor(build(table), encode(PIL.Image.fromarray(PIXELS)))[0]

    whole = PIL.Image.fromarray(PIXELS).resize((side, 9), PIL.Image.Resampling.BILINEAR)
    expected = np.asarray(whole)[:, left : left + 10]
    np.testing.assert_allclose(found, expected.transpose(2, 0, 1), atol=1)  # cropped first


def test_transparency_is_dropped_where_it_is_asked_to_be() -> None:
    image = build(replace(options((1, 1), "stretch"), transparency="drop"))
    rgba = encode(PIL.Image.new("RGBA", (1, 1), (100, 0, 200, 51)))
    palette = build(replace(options((2, 2), "none"), transparency="drop"))

    np.testing.assert_array_equal(tensor(image, rgba)[0, :, 0, 0], [100, 0, 200])
    found = tensor(palette, palette_with_transparency())[0, :, 0]
    np.testing.assert_array_equal(found.T, [[0, 0, 0], [10, 20, 30]])


def test_a_large_image_that_keeps_its_size_is_not_decoded_smaller() -> None:
    raw = encode(SMOOTH, "JPEG")

    found = decode(raw, options((32, 32), "none", decode="fast"))

    assert found.size == SMOOTH.size


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation

    raw = encode(PIL.Image.fromarray(PIXELS), exif=exif)

    p = PIXELS
    upright = [p, p[:, ::-1], p[::-1, ::-1], p[::-1], p.transpose(1, 0, 2), np.rot90(p, -1)]
    upright += [np.rot90(p, 2).transpose(1, 0, 2), np.rot90(p)]
    expected = upright[orientation - 1]
    np.testing.assert_array_equal(pixels_of(raw, *expected.shape[:2]), expected)


def palette_with_transparency() -> bytes:
    image = PIL.Image.new("P", (2, 2), 1)
    image.putpalette([0, 0, 0, 10, 20, 30])
    image.putpixel((0, 0), 0)
    return encode(image, transparency=0)


def test_transparency_is_laid_on_white() -> None:
    rgba = encode(PIL.Image.new("RGBA", (1, 1), (100, 0, 200, 51)))
    grey = encode(PIL.Image.new("LA", (1, 1), (100, 0)))

    np.testing.assert_array_equal(pixels_of(rgba, 1, 1)[0, 0], [224, 204, 244])
    np.testing.assert_array_equal(pixels_of(grey, 1, 1)[0, 0], [255, 255, 255])
    found = pixels_of(palette_with_transparency(), 2, 2)
    np.testing.assert_array_equal(found[0], [[255, 255, 255], [10, 20, 30]])


def tiff(array: NDArray[Any]) -> bytes:
    return encode(PIL.Image.fromarray(array), "TIFF")


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (encode(PIL.Image.new("L", (1, 1), 77)), (77, 77, 77)),
        (encode(PIL.Image.new("1", (1, 1), 1)), (255, 255, 255)),
        (encode(PIL.Image.new("CMYK", (1, 1), (255, 0, 0, 0)), "TIFF"), (0, 255, 255)),
        (encode(PIL.Image.fromarray(np.array([[200 * 257]], dtype=np.uint16))), (200, 200, 200)),
        (tiff(np.array([[200 * 257]], dtype=np.uint16)), (200, 200, 200)),
        (tiff(np.array([[200 * 257]], dtype=np.int32)), (200, 200, 200)),
        (tiff(np.array([[200]], dtype=np.int32)), (200, 200, 200)),
        (tiff(np.array([[0.2]], dtype=np.float32)), (51, 51, 51)),
        (tiff(np.array([[300.0]], dtype=np.float32)), (255, 255, 255)),
    ],
)
def test_every_pixel_kind_becomes_8_bit_rgb(raw: bytes, value: tuple[int, ...]) -> None:
    np.testing.assert_array_equal(pixels_of(raw, 1, 1)[0, 0], value)


def test_the_first_frame_of_an_animation_counts() -> None:
    frames = [PIL.Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]

    raw = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])

    np.testing.assert_array_equal(pixels_of(raw, 4, 4)[0, 0], [255, 0, 0])


@pytest.mark.parametrize("shape", [(40, 60), (40, 60, 3), (40, 60, 4)])
def test_arrays_of_pixels_are_images(shape: tuple[int, ...]) -> None:
    array = np.full(shape, 255, dtype=np.uint8)
    array[..., 0] = 9 if len(shape) == 3 else 255
    image = build(options((40, 60), "stretch"))

    found = tensor(image, image.read(array))

    np.testing.assert_array_equal(found[0, :, 0, 0], [9 if len(shape) == 3 else 255, 255, 255])


@pytest.mark.parametrize("size", [(60_000, 1), (1, 60_000)])
def test_a_strip_is_resized_without_its_cropped_part(size: tuple[int, int]) -> None:
    found = tensor(build(options((64, 64))), encode(PIL.Image.new("RGB", size, (9, 8, 7))))

    np.testing.assert_array_equal(found[0].mean(axis=(1, 2)), [9, 8, 7])


def test_cropping_first_gives_what_cropping_last_would() -> None:
    strip = PIL.Image.fromarray(RNG.integers(0, 256, (16, 640, 3), dtype=np.uint8))

    found = tensor(build(options((8, 8))), encode(strip))

    expected = np.asarray(strip.resize((320, 8), PIL.Image.Resampling(2)))[:, 156:164]
    np.testing.assert_allclose(found[0], expected.transpose(2, 0, 1), atol=1)


SMOOTH = PIL.Image.fromarray(PIXELS).resize((480, 320), PIL.Image.Resampling.BICUBIC)


def loaded(
    raw: bytes, decode: Literal["exact", "fast"], size: tuple[int, ...] = (32, 48)
) -> NDArray[np.float32]:
    array = tensor(build(options(size, decode=decode)), raw)[0]
    return np.asarray(array, dtype=np.float32)


def orientations() -> list[bytes]:
    made = []
    for orientation in range(1, 9):
        exif = PIL.Image.Exif()
        exif[0x0112] = orientation
        made.append(encode(SMOOTH, "JPEG", quality=95, exif=exif))
    return made


@pytest.mark.parametrize("size", [(32, 48), (48, 32), (32, 32)])
def test_a_fast_decoded_jpeg_is_close_to_the_exact_one_in_every_orientation(
    size: tuple[int, int],
) -> None:
    for raw in orientations():
        exact, fast = loaded(raw, "exact", size), loaded(raw, "fast", size)

        assert 0 < np.abs(exact - fast).mean() < 3


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGB"])
def test_a_fast_decoded_jpeg_keeps_its_colours(mode: str) -> None:
    raw = encode(SMOOTH.convert(mode), "JPEG", quality=95, progressive=mode == "RGB")

    exact, fast = loaded(raw, "exact"), loaded(raw, "fast")

    assert 0 < np.abs(exact - fast).mean() < 3


@pytest.mark.parametrize(
    ("size", "resize", "decoded"),
    [
        ((50, 50), "stretch", (120, 80)),
        ((34, 34), "stretch", (60, 40)),
        ((35, 35), "stretch", (120, 80)),
        ((80, 120), "stretch", (240, 160)),
        ((139, 208), "stretch", (240, 160)),
        ((140, 210), "stretch", (480, 320)),
        ((20, 60), "pad", (60, 40)),
        ((20, 60), "stretch", (120, 80)),
        ((60, 20), "shortest", (120, 80)),
        ((320, 480), "shortest", (480, 320)),
    ],
)
def test_a_jpeg_is_decoded_no_smaller_than_what_is_needed(
    size: tuple[int, int], resize: Literal["shortest", "stretch", "pad"], decoded: tuple[int, int]
) -> None:
    image = decode(encode(SMOOTH, "JPEG"), options(size, resize, decode="fast"))

    assert image.size == decoded


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF"])
def test_other_files_are_decoded_exactly_when_fast(kind: str) -> None:
    raw = encode(SMOOTH, kind)

    np.testing.assert_allclose(loaded(raw, "fast"), loaded(raw, "exact"), atol=1)


def test_a_wrong_suffix_does_not_matter(tmp_path: Path) -> None:
    image = build(options((40, 60), "stretch"))
    (tmp_path / "x.jpg").write_bytes(encode(PIL.Image.fromarray(PIXELS)))

    found = tensor(image, image.read(tmp_path / "x.jpg"))

    np.testing.assert_array_equal(found[0], PIXELS.transpose(2, 0, 1))


def png_header(width: int, height: int) -> bytes:
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    start = struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    data = b"IDAT" + zlib.compress(b"\0" * 100)
    body = struct.pack(">I", len(data) - 4) + data + struct.pack(">I", zlib.crc32(data))
    return b"\x89PNG\r\n\x1a\n" + start + body


JPEG = encode(PIL.Image.fromarray(PIXELS), "JPEG")


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (png_header(50_000, 50_000), "has 50000 x 50000 pixels; at most 178956970 are allowed"),
        (png_header(13_378, 13_378), "has 13378 x 13378 pixels"),
        (png_header(400, 400), "is damaged or truncated"),
        (JPEG[: len(JPEG) // 2], "is damaged or truncated"),
        (JPEG[:20], "is a damaged JPEG image"),
        (encode(PIL.Image.fromarray(PIXELS))[:500], "is damaged or truncated"),
        (b"%PDF-1.7 and so on", "is not an image that can be read: it looks like a PDF"),
        (b"<html>", "it looks like HTML, SVG or XML"),
        (b"\0\0\0\x18ftypheic", "it looks like HEIC"),
        (b"hello", "it starts with b'hello'"),
        (tiff(np.array([[np.nan]], dtype=np.float32)), "pixels that are not finite"),
    ],
)
def test_an_unusable_file_is_an_item_error_without_a_warning(raw: bytes, message: str) -> None:
    with pytest.raises(ItemError, match=message):
        build(options()).load(raw)


@pytest.mark.parametrize("array", [np.zeros((4, 4)), np.zeros((0, 4, 3), np.uint8)])
def test_an_array_of_anything_else_is_refused(array: NDArray[Any]) -> None:
    with pytest.raises(ItemError, match="expected uint8 pixels"):
        build(options()).read(array)


def test_a_manifest_without_an_image_table_is_refused() -> None:
    with pytest.raises(ManifestError, match=r"needs an \[image\] table"):
        build(None)


def test_the_preview_names_format_and_size() -> None:
    assert build(options()).preview(JPEG) == "JPEG 60 x 40"
    assert build(options()).preview(b"nonsense") == ""
