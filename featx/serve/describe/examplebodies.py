"""Example bodies: what may be sent, for the description of the service."""

import base64
import io
import math
import wave
from typing import Any

from featx.serve.routes.signature import inputs_of
from featx.serve.routes.wire import FIELD_OF
from featx.serve.thing import Thing

FILES = {"image": ("image/jpeg", "photo.jpg"), "audio": ("audio/wav", "sound.wav")}
"""Field of an item → the content type and name of a file of it."""

_LABEL, _ID = "cat", "cats/1.jpg"
"""Where none of a thing is told."""

_TEXT = "my order has not come yet"

_IMAGE = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5E"
    "rkJggg=="
)
"""A PNG of one pixel."""


def _sound() -> str:
    """Return a tone of an eighth of a second as a WAV file, in base64."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(1)
        out.setframerate(8000)
        out.writeframes(bytes(128 + round(60 * math.sin(at / 3)) for at in range(1000)))
    return base64.b64encode(file.getvalue()).decode()


def bodies_of(thing: Thing, *, is_discreet: bool) -> dict[str, Any]:
    """Return an example of each body by name, as a thing takes them.

    Parameters
    ----------
    thing : Thing
    is_discreet : bool
        Whether to name no label and no item of it.
    """
    field, dim = FIELD_OF[thing.modality], thing.backbone.dim
    plain: Any = {"text": _TEXT, "image": _IMAGE, "vector": [1.0] + [0.0] * (dim - 1)}.get(field)
    if field == "audio":
        plain = _sound()
    given = inputs_of(thing)[field]
    tensor = {
        "name": field,
        "shape": [1, *given.shape],
        "datatype": given.datatypes[0],
        "data": plain if field == "vector" else [plain],
    }
    label = _LABEL if is_discreet else next(iter(thing.classes), _LABEL)
    return {
        "input": {"input": plain},
        "embed": {"model": thing.name, "input": plain},
        "teach": {"examples": [{"input": plain, "label": label}]},
        "relabel": {"id": some_id(thing, is_discreet=is_discreet), "label": label},
        "infer": {"inputs": [tensor]},
    }


def some_id(thing: Thing, *, is_discreet: bool) -> str:
    """Return the id of an item that is there, if there is any; see `bodies_of`."""
    if is_discreet or thing.gallery is None:
        return _ID
    found = thing.held.page(limit=1).items
    return found[0][0] if found else _ID
