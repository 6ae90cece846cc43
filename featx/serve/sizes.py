"""Sizes of images and sounds, told from their headers: what is too large is not decoded."""

from featx.errors import ItemError


def require_modest(raw: bytes, modality: str, *, pixels: int, seconds: float) -> None:
    """Raise where decoding an item would take too much.

    Parameters
    ----------
    raw : bytes
        Of its file.
    modality : str
    pixels : int
        Most of an image.
    seconds : float
        Longest sound.

    Raises
    ------
    ItemError
        If it is larger, or an image without a header that can be read.
    """
    if modality == "image":
        from featx.modality.image import size_of

        width, height = size_of(raw)
        if width * height > pixels:
            raise ItemError(f"has {width} x {height} pixels; at most {pixels:,} are taken")
    elif modality == "audio":
        from featx.modality.audio import seconds_of

        if (found := seconds_of(raw)) > seconds:
            raise ItemError(f"lasts {found:,.0f} s; at most {seconds:g} s are taken")
