"""Resizing and cropping at the centre, by the rules of the libraries that backbones come from.

Pillow's filters grow with the pixels they join, so that nothing is skipped.  `resample_plainly` is
for backbones that were trained without that.
"""

from typing import Any

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from featx.zoo.manifest import ImageOptions

FILTERS = {
    "nearest": PIL.Image.Resampling.NEAREST,
    "box": PIL.Image.Resampling.BOX,
    "bilinear": PIL.Image.Resampling.BILINEAR,
    "hamming": PIL.Image.Resampling.HAMMING,
    "bicubic": PIL.Image.Resampling.BICUBIC,
    "lanczos": PIL.Image.Resampling.LANCZOS,
}

REACH = 3
"""Pixels of the result that the widest filter, Lanczos', looks at to either side."""

CUBIC_A = -0.75
"""Of Keys' cubic convolution, as torch has it; Pillow's is -0.5."""


def target_of(options: ImageOptions) -> tuple[int, int]:
    """Return height and width of the result."""
    return _pair(options.size)


def resized(image: PIL.Image.Image, options: ImageOptions) -> PIL.Image.Image:
    """Resize an RGB image and cut what is beyond the target off; it may be smaller than that."""
    tall, wide = whole_size(image.height, image.width, options)
    height, width = target_of(options)
    top, rows = _kept(tall, height, options)
    left, columns = _kept(wide, width, options)
    if (tall, wide) == image.size[::-1]:
        return image.crop((left, top, left + columns, top + rows))
    if not options.antialias:
        spans = (tall, top, rows), (wide, left, columns)
        is_cubic = options.interpolation == "bicubic"
        return PIL.Image.fromarray(resample_plainly(np.asarray(image), *spans, is_cubic=is_cubic))
    # What is kept is resized, not the whole, which takes 40 % less time; of 10,000 values two
    # differ by one level.  A strip of 60,000 x 1 would even become 15 million pixels wide.
    x, y = image.width / wide, image.height / tall
    box = (left * x, top * y, (left + columns) * x, (top + rows) * y)
    if options.resize_to or options.rounding != "nearest":
        return _across_first(image, (columns, rows), FILTERS[options.interpolation], box)
    return image.resize((columns, rows), FILTERS[options.interpolation], box=box)


def box_of(options: ImageOptions) -> tuple[float, float]:
    """Return the height and width that a resized image covers, fills or fits into."""
    height, width = _pair(options.resize_to or options.size)
    fraction = options.crop_fraction if options.resize == "shortest" else 1.0
    return height / fraction, width / fraction


def whole_size(height: int, width: int, options: ImageOptions) -> tuple[int, int]:
    """Return height and width of the whole image once it is resized.

    Examples
    --------
    >>> options = ImageOptions(size=(224,), resize_to=(256,), mean=(0.0,), std=(1.0,))
    >>> whole_size(480, 641, options)
    (256, 342)
    """
    if options.resize == "none":
        return height, width
    tall, wide = map(round, box_of(options))
    if options.resize == "stretch":
        return tall, wide
    if options.resize == "pad":
        scale = min(wide / width, tall / height)
        return max(1, round(height * scale)), max(1, round(width * scale))
    is_floor = options.rounding != "nearest"
    if height * wide >= width * tall:
        return height * wide // width if is_floor else round(height * wide / width), wide
    return tall, width * tall // height if is_floor else round(width * tall / height)


def resample_plainly(
    pixels: NDArray[np.uint8],
    rows: tuple[int, int, int],
    columns: tuple[int, int, int],
    *,
    is_cubic: bool,
) -> NDArray[np.uint8]:
    """Resize by the nearest 2 x 2 pixels, or 4 x 4 if cubic, however many lie between.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (H, W, 3)
    rows, columns : tuple of int
        Length of the whole once it is resized, first index that is kept, and how many are.
    is_cubic : bool

    Returns
    -------
    ndarray of uint8, shape (rows kept, columns kept, 3)
    """
    values: NDArray[Any] = pixels
    for axis, (whole, first, count) in enumerate((rows, columns)):
        values = _along(values, axis, whole, slice(first, first + count), is_cubic=is_cubic)
    result: NDArray[np.uint8] = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return result


def _along(
    values: NDArray[Any], axis: int, whole: int, kept: slice, *, is_cubic: bool
) -> NDArray[np.float32]:
    """Resize one axis."""
    length = values.shape[axis]
    at = (np.arange(kept.start, kept.stop) + 0.5) * (length / whole) - 0.5
    at = at if is_cubic else np.maximum(at, 0)
    first = np.floor(at).astype(np.int64)
    part = at - first
    weights = _cubic(part) if is_cubic else np.stack([1 - part, part])
    taps = first + np.arange(len(weights))[:, None] - (1 if is_cubic else 0)
    shape = (-1, 1, 1) if axis == 0 else (1, -1, 1)
    total = np.float32(0)
    for tap, weight in zip(np.clip(taps, 0, length - 1), weights, strict=True):
        total = total + values.take(tap, axis=axis) * weight.reshape(shape).astype(np.float32)
    return np.asarray(total)


def _cubic(part: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the weights (4, N) of the pixels around a point, `part` behind the second."""

    def near(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return ((CUBIC_A + 2) * x - (CUBIC_A + 3)) * x * x + 1

    def far(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return ((CUBIC_A * x - 5 * CUBIC_A) * x + 8 * CUBIC_A) * x - 4 * CUBIC_A

    return np.stack([far(part + 1), near(part), near(1 - part), far(2 - part)])


def _across_first(
    image: PIL.Image.Image,
    size: tuple[int, int],
    resample: PIL.Image.Resampling,
    box: tuple[float, float, float, float],
) -> PIL.Image.Image:
    """Resize rows, then columns, as torchvision does, and Pillow before version 13.

    Values are cut to 0 to 255 between the two, so that the order counts.  Pillow 13 begins with
    columns if that removes more than twice as many pixels; of a part, not of the whole.
    """
    left, top, right, bottom = box
    more = REACH * max(1, (bottom - top) / size[1]) + 1
    first, last = max(0, int(top - more)), min(image.height, int(bottom + more) + 1)
    # All rows of a strip that is 100 million pixels high would not fit into memory.
    rows = image.crop((0, first, image.width, last))
    rows = rows.resize((size[0], rows.height), resample, box=(left, 0, right, rows.height))
    return rows.resize(size, resample, box=(0, top - first, size[0], bottom - first))


def _kept(whole: int, target: int, options: ImageOptions) -> tuple[int, int]:
    """Return the first pixel that is kept along a side, and how many are."""
    if whole <= target:
        return 0, whole
    spare = whole - target
    return spare // 2 if options.rounding == "transformers" else round(spare / 2), target


def _pair(sides: tuple[int, ...]) -> tuple[int, int]:
    height, width = sides if len(sides) == 2 else sides * 2
    return height, width
