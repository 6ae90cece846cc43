"""Items as requests hold them: JSON values, turned into what a backbone reads."""

import base64
import binascii
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from featx.errors import FeatxError, ItemError
from featx.serve.settings import ServeSettings
from featx.types import Content, Vectors

Number = int | float

LARGEST = 1e15
"""Largest number of a vector: squares of such add up within float32, however wide it is."""


class ItemObject(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """An item that says what it is; exactly one field is given.

    Attributes
    ----------
    text : str
    image, audio : str
        A file, in base64 or as a data URI.
    vector : array of numbers, or str
        An embedding of the model, as numbers or as little-endian float32 in base64.
    """

    text: str | None = None
    image: str | None = None
    audio: str | None = None
    vector: list[float] | str | None = None


Item = str | ItemObject | Number | list[Number]
"""A text, or base64 of an image or sound where the model takes those; or a vector."""

Input = str | ItemObject | list[Item]
"""One item or many; a list of numbers is one vector."""

Top = Annotated[int, msgspec.Meta(ge=0, le=10_000)]
K = Annotated[int, msgspec.Meta(ge=1, le=1000)]

FIELD_OF = {"text": "text", "image": "image", "audio": "audio", "array": "vector"}
"""Modality → the field of an item of it."""


def listed(given: Input) -> list[Item]:
    """Return the items of an input, which may be one item."""
    if not isinstance(given, list):
        return [given]
    if given and set(map(type, given)) <= {int, float}:  # ten times as fast as isinstance
        return [given]  # type: ignore[list-item]  # numbers, all of them
    return given


def content_of(item: Item, modality: str, settings: ServeSettings) -> Content:
    """Return what a backbone of a modality reads.

    Raises
    ------
    ItemError
        If it is of another kind, too large or damaged.
    """
    if isinstance(item, str):
        item = ItemObject(**{FIELD_OF[modality]: item})
    elif isinstance(item, list):
        return vector_of(item)
    elif isinstance(item, int | float):
        raise ItemError("is a number; expected an item, or a list of numbers")
    given = [name for name in ItemObject.__struct_fields__ if getattr(item, name) is not None]
    if len(given) != 1:
        found = " and ".join(given) or "no field"
        raise ItemError(f"holds {found}; expected one of text, image, audio, vector")
    (name,) = given
    if name == "vector":
        return _vector(item.vector)
    if name != FIELD_OF[modality]:
        raise ItemError(f"holds {name}; this model takes {FIELD_OF[modality]} or vector")
    return _TAKEN[name](getattr(item, name), settings)


def text_error(size_bytes: int, settings: ServeSettings) -> ItemError | None:
    """Return what is wrong with a text of this size, if anything is."""
    if size_bytes <= settings.text_bytes:
        return None
    return ItemError(f"is {size_bytes:,} bytes of text; at most {settings.text_bytes:,} are taken")


def _text(text: str, settings: ServeSettings) -> Content:
    size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    if error := text_error(size, settings):
        raise error
    return text


def _file(encoded: str, _: ServeSettings) -> Content:
    return from_base64(encoded.partition(",")[2] if encoded.startswith("data:") else encoded)


_TAKEN = {"text": _text, "image": _file, "audio": _file}


def from_base64(encoded: str) -> bytes:
    """Return the bytes of base64, of the URL-safe alphabet too, padded or not.

    Raises
    ------
    ItemError
        If it is none.
    """
    plain = encoded.strip().replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError) as cause:
        raise ItemError("is no base64; expected a file in base64, or a data URI") from cause


def _vector(vector: list[float] | str | None) -> Vectors:
    if isinstance(vector, str):
        raw = from_base64(vector)
        if len(raw) % 4 or not raw:
            raise ItemError(f"is {len(raw)} bytes; expected a vector as little-endian float32")
        return vector_of(np.frombuffer(raw, "<f4"))
    return vector_of(vector or [])


def vector_of(numbers: Sequence[Number] | NDArray[np.floating]) -> Vectors:
    """Return numbers as a vector.

    Raises
    ------
    ItemError
        If one of them is not finite, or so large that no length or distance can be told.
    """
    try:
        plain = np.asarray(numbers, np.float64)
        is_modest = bool((np.abs(plain) <= LARGEST).all())
    except OverflowError:  # an integer beyond every float
        is_modest = False
    if not is_modest:
        raise ItemError(f"holds a number that is not finite, or beyond {LARGEST:g}")
    return plain.astype(np.float32)


def contents_of(
    items: Sequence[Item], modality: str, dim: int, settings: ServeSettings
) -> list[Content | FeatxError]:
    """Return what a backbone reads of each item; an error stands for one that is of no use.

    Parameters
    ----------
    items : sequence
    modality : str
    dim : int
        What a vector has to be wide.
    settings : ServeSettings
    """
    found: list[Content | FeatxError] = []
    for item in items:
        try:
            content = content_of(item, modality, settings)
            if isinstance(content, np.ndarray) and content.shape != (dim,):
                raise ItemError(f"is a vector of {len(content)} numbers; this model's have {dim}")
            found.append(content)
        except FeatxError as error:
            found.append(error)
    return found


def to_base64(vector: Vectors) -> str:
    """Return a vector as little-endian float32 in base64."""
    return base64.b64encode(vector.astype("<f4", copy=False).tobytes()).decode("ascii")


def plain(value: Any) -> Any:  # noqa: ANN401  (what JSON can say)
    """Return a number that JSON can say; NaN and infinity become None."""
    return None if isinstance(value, float) and not np.isfinite(value) else value
