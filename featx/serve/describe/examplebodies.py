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


def bodies_of(thing: Thing) -> dict[str, Any]:
    """Return an example of each body by name, as a thing takes them."""
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
    return {
        "input": {"input": plain},
        "embed": {"model": thing.name, "input": plain},
        "teach": {"examples": [{"input": plain, "label": _label(thing)}]},
        "relabel": {"id": some_id(thing), "label": _label(thing)},
        "infer": {"inputs": [tensor]},
    }


def _label(thing: Thing) -> str:
    return next(iter(thing.classes), "cat")


def some_id(thing: Thing) -> str:
    """Return the id of an item that is there, if there is any."""
    if thing.gallery is None or not len(thing.held):
        return "cats/1.jpg"
    found, _ = thing.held.item(int(thing.held.rows[0]))
    return found
