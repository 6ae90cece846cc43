"""Sizes of images and sounds, told from their headers: what is too large is not decoded.

What is not too large is decoded with others, as many at once as memory allows.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition, Lock

from featx.errors import ItemError

VALUES_PER_S = 48_000 * 2
"""Of a second of sound, at most: of the longest one as many samples as of 48 kHz in stereo."""

LARGEST_AT_ONCE = 2
"""Images of the largest size that are decoded at once, or more that are smaller."""


class Sizes:
    """What may be decoded, and how much at once.

    Parameters
    ----------
    pixels : int
        Most of an image.
    seconds : float
        Longest sound.
    """

    def __init__(self, *, pixels: int, seconds: float) -> None:
        self._pixels, self._seconds = pixels, seconds
        self._free = LARGEST_AT_ONCE * pixels
        self._changed = Condition()
        self._turn = Lock()

    @contextmanager
    def decoding(self, raw: bytes, modality: str) -> Iterator[None]:
        """Wait until there is room to decode an item, which is held meanwhile.

        Raises
        ------
        ItemError
            If it is too large, or an image without a header that can be read.
        """
        if modality == "audio":
            self._require_short(raw)
        if modality != "image":
            yield
            return
        pixels = self._pixels_of(raw)
        with (
            self._turn,
            self._changed,
        ):  # in turn, or a large image waits for ever beside small ones
            self._changed.wait_for(lambda: self._free >= pixels)
            self._free -= pixels
        try:
            yield
        finally:
            with self._changed:
                self._free += pixels
                self._changed.notify()

    def _pixels_of(self, raw: bytes) -> int:
        from featx.modality.image import size_of

        width, height = size_of(raw)
        if width * height > self._pixels:
            raise ItemError(f"has {width} x {height} pixels; at most {self._pixels:,} are taken")
        return width * height

    def _require_short(self, raw: bytes) -> None:
        from featx.modality.audio import length_of

        seconds, values = length_of(raw)
        if seconds > self._seconds:
            raise ItemError(f"lasts {seconds:,.0f} s; at most {self._seconds:g} s are taken")
        if values > (most := int(self._seconds * VALUES_PER_S)):
            raise ItemError(
                f"holds {values:,} samples of all channels; at most {most:,} are taken, "
                f"{self._seconds:g} s of stereo at 48 kHz; lower its rate"
            )
