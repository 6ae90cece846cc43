"""Images: any common file to a normalised (3, height, width) float32 array.

``load`` = decode → upright, opaque, 8-bit RGB → resize and crop; ``collate`` normalises.
"""

import io
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import PIL.Image
from numpy.typing import NDArray
from PIL.JpegImagePlugin import JpegImageFile

from featx.errors import ItemError, ManifestError
from featx.modality.content import NPY_MAGIC, first_line, load_each, npy_array, read_bytes
from featx.modality.resizing import box_of, resized, target_of
from featx.types import Content, Sample
from featx.zoo.manifest import ImageOptions, Manifest

ROLE = "image"

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000")
"""What is tried, by content; formats that run other programs (EPS) are not among them."""

MAX_PIXELS = 178_956_970
"""Pixels from which a file counts as a decompression bomb: those of 512 MiB of RGB."""

LEAST_SHRINK = 1.15
"""What a fast decoded JPEG must still be shrunk by, at least.

The cosine of EfficientNet-Lite0's vectors to exact ones, median of 15 photographs with added
noise: .986 where nothing is left to shrink, .993 at 1.1, .997 at 1.17, .998 at 1.5, .999 at 2.
"""

ORIENTATION_TAG = 0x0112
UPRIGHT = {
    2: PIL.Image.Transpose.FLIP_LEFT_RIGHT,
    3: PIL.Image.Transpose.ROTATE_180,
    4: PIL.Image.Transpose.FLIP_TOP_BOTTOM,
    5: PIL.Image.Transpose.TRANSPOSE,
    6: PIL.Image.Transpose.ROTATE_270,
    7: PIL.Image.Transpose.TRANSVERSE,
    8: PIL.Image.Transpose.ROTATE_90,
}
SIDEWAYS = {UPRIGHT[orientation] for orientation in (5, 6, 7, 8)}

SIGNATURES = {
    b"%PDF": "a PDF",
    b"PK\x03\x04": "a ZIP archive",
    b"\x1f\x8b": "gzip data",
    b"<": "HTML, SVG or XML",
    b"RIFF": "a RIFF file",
    b"%!PS": "PostScript",
}


class Image:
    """Images, resized, cropped and normalised as `ImageOptions` says.

    Content is a path, the bytes of a file, or a uint8 array (H, W), (H, W, 3) or (H, W, 4) in
    RGB order.  EXIF orientation is applied, transparency is laid on white or dropped, 16-bit
    samples are scaled to 8 bits, and of an animation the first frame counts.

    With ``decode = "fast"`` a JPEG is decoded at a half, a quarter or an eighth of its size where
    `LEAST_SHRINK` allows.
    """

    revision: ClassVar[int] = 2
    suffixes: ClassVar[frozenset[str]] = frozenset(
        {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"}
        | {".ppm", ".pgm", ".pbm", ".avif", ".jp2"}
    )

    def __init__(self, manifest: Manifest) -> None:
        if manifest.image is None:
            message = f"{manifest.name}: modality 'image' needs an [image] table"
            raise ManifestError(message)
        self.options = manifest.image

    def read(self, content: Content) -> bytes:
        """Return the file's bytes; an array becomes ``.npy`` bytes.

        Raises
        ------
        ItemError
            If there is nothing to read, or an array is not of pixels.
        """
        if isinstance(content, np.ndarray):
            _check_pixels(content)
        return read_bytes(content)

    def load(self, raw: bytes) -> Sample:
        """Decode, resize and crop; the sample holds pixels (1, height, width, 3) of 8 bits.

        Raises
        ------
        ItemError
            If it is no image, is damaged or truncated, or holds too many pixels.
        """
        image = resized(decode(raw, self.options), self.options)
        return Sample(inputs={ROLE: np.asarray(image)[None]}, cost=1)

    def load_many(self, raws: Sequence[bytes]) -> list[Sample | ItemError]:
        """Load several, one by one."""
        return load_each(self.load, raws)

    def collate(self, samples: Sequence[Sample]) -> dict[str, NDArray[Any]]:
        """Join samples into one normalised batch (N, 3, height, width) of float32."""
        height, width = target_of(self.options)
        # What is not covered keeps 0, which is where `mean` goes, if it is not filled.
        batch = np.zeros((len(samples), 3, height, width), dtype=np.float32)
        if self.options.fill:
            batch += _of_channels(self.options.fill)
            _scale(batch, self.options)
        for tensor, sample in zip(batch, samples, strict=True):
            pixels = sample.inputs[ROLE][0]
            tall, wide = pixels.shape[:2]
            top, left = (height - tall) // 2, (width - wide) // 2
            _normalise(pixels, self.options, tensor[:, top : top + tall, left : left + wide])
        return {ROLE: batch}

    def preview(self, raw: bytes) -> str:
        """Return format and size, such as ``JPEG 640 x 480``, or nothing if it has none."""
        if raw.startswith(NPY_MAGIC):
            return ""
        try:
            image = _open(raw)
        except ItemError:
            return ""
        return f"{image.format} {image.width} x {image.height}"


def decode(raw: bytes, options: ImageOptions) -> PIL.Image.Image:
    """Return an upright, opaque, 8-bit RGB image; a fast decoded JPEG is smaller than its file.

    Raises
    ------
    ItemError
        If it is no image, is damaged or truncated, or holds too many pixels.
    """
    if raw.startswith(NPY_MAGIC):
        array = npy_array(raw)
        _check_pixels(array)
        image = PIL.Image.fromarray(array)
    else:
        image = _open(raw)
    if image.width * image.height > MAX_PIXELS:
        message = (
            f"has {image.width} x {image.height} pixels; at most {MAX_PIXELS} are allowed; "
            "make it smaller first"
        )
        raise ItemError(message)
    try:
        if options.decode == "fast" and isinstance(image, JpegImageFile):
            _decode_smaller(image, options)
        image.load()
        return _opaque_rgb(_upright(image), options)
    except ItemError:
        raise
    except Exception as cause:  # on damaged bytes a decoder may raise anything
        message = f"is damaged or truncated: {first_line(cause)}"
        raise ItemError(message) from cause


def size_of(raw: bytes) -> tuple[int, int]:
    """Return width and height of an image, from its header.

    Raises
    ------
    ItemError
        If it is no image.
    """
    if raw.startswith(NPY_MAGIC):
        array = npy_array(raw)
        _check_pixels(array)
        return array.shape[1], array.shape[0]
    image = _open(raw)
    return image.width, image.height


def _open(raw: bytes) -> PIL.Image.Image:
    """Read the header; decode nothing.

    `PIL.Image.open` would warn of many pixels, and silencing a warning is not safe in threads;
    so the openers are tried here, and our own limit is checked.
    """
    for name in FORMATS:
        if name not in PIL.Image.OPEN:
            PIL.Image.init()
        if name not in PIL.Image.OPEN:
            continue  # Pillow was built without it
        factory, accept = PIL.Image.OPEN[name]
        if accept is None or accept(raw[:16]) is not True:
            continue
        try:
            return factory(io.BytesIO(raw), "")
        except Exception as cause:
            message = f"is a damaged {name} image: {first_line(cause)}"
            raise ItemError(message) from cause
    message = f"is not an image that can be read: {_looks_like(raw)}; known: {', '.join(FORMATS)}"
    raise ItemError(message)


def _looks_like(raw: bytes) -> str:
    if raw[4:12] in {b"ftypheic", b"ftypheix", b"ftypmif1"}:
        return "it looks like HEIC"
    for signature, name in SIGNATURES.items():
        if raw.lstrip().startswith(signature):
            return f"it looks like {name}"
    return f"it starts with {raw[:12]!r}"


def _decode_smaller(image: JpegImageFile, options: ImageOptions) -> None:
    """Have libjpeg decode a half, a quarter or an eighth of each block's frequencies."""
    if options.resize == "none":
        return
    height, width = box_of(options)
    if _transpose(image) in SIDEWAYS:
        height, width = width, height
    shrinks = image.width / width, image.height / height
    shrink = max(shrinks) if options.resize == "pad" else min(shrinks)
    part = next((part for part in (8, 4, 2) if shrink / part >= LEAST_SHRINK), 1)
    image.draft(None, (image.width // part, image.height // part))


def _upright(image: PIL.Image.Image) -> PIL.Image.Image:
    transpose = _transpose(image)
    return image if transpose is None else image.transpose(transpose)


def _transpose(image: PIL.Image.Image) -> PIL.Image.Transpose | None:
    try:
        orientation = image.getexif().get(ORIENTATION_TAG)
    except Exception:  # noqa: BLE001  (a good picture with damaged notes is a good picture)
        return None
    return UPRIGHT.get(orientation) if isinstance(orientation, int) else None


def _opaque_rgb(image: PIL.Image.Image, options: ImageOptions) -> PIL.Image.Image:
    if image.mode.startswith(("I", "F")):
        return PIL.Image.fromarray(_to_8_bit(np.asarray(image))).convert("RGB")
    if options.transparency == "drop":
        image.info.pop("transparency", None)  # of a palette; Pillow would warn
    if not image.has_transparency_data or options.transparency == "drop":
        return image if image.mode == "RGB" else image.convert("RGB")
    layer = image.convert("RGBA")
    white = PIL.Image.new("RGBA", layer.size, "white")
    return PIL.Image.alpha_composite(white, layer).convert("RGB")


def _to_8_bit(array: NDArray[Any]) -> NDArray[np.uint8]:
    """Scale deep samples: 0 to 65535 if integers exceed 255, 0 to 1 if floats stay inside it."""
    if not np.isfinite(array).all():
        message = "holds pixels that are not finite"
        raise ItemError(message)
    if array.dtype.kind == "f":
        is_unit = array.min() >= 0 and array.max() <= 1
        scaled = np.rint(array * 255 if is_unit else array)
    elif array.dtype.itemsize == 2 or array.max() > 255:
        scaled = np.rint(array / np.float32(257))
    else:
        scaled = array
    pixels: NDArray[np.uint8] = np.clip(scaled, 0, 255).astype(np.uint8)
    return pixels


def _normalise(
    pixels: NDArray[np.uint8], options: ImageOptions, tensor: NDArray[np.float32]
) -> None:
    """Fill `tensor` (3, H, W); `mean` and `std` are in the order of `channel_order`."""
    channels = pixels.transpose(2, 0, 1)
    tensor[...] = channels[::-1] if options.channel_order == "bgr" else channels
    _scale(tensor, options)


def _scale(pixels: NDArray[np.float32], options: ImageOptions) -> None:
    pixels -= _of_channels(options.mean)
    pixels /= _of_channels(options.std)


def _of_channels(values: tuple[float, ...]) -> NDArray[np.float32]:
    return np.array(values, dtype=np.float32)[:, None, None]


def _check_pixels(array: NDArray[Any]) -> None:
    is_image = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in {3, 4})
    if array.dtype != np.uint8 or not is_image or array.size == 0:
        message = (
            f"is an array of {array.dtype} {array.shape}; "
            "expected uint8 pixels (H, W), (H, W, 3) or (H, W, 4)"
        )
        raise ItemError(message)
