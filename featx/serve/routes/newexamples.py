"""New examples: items to be taught, and what is said of those that were not."""

from collections.abc import Sequence

import msgspec
import numpy as np
from blake3 import blake3

from featx.backbone.backbone import Backbone
from featx.errors import FeatxError, ItemError, TakenError
from featx.gallery.held import Held
from featx.gallery.items import ItemFacts
from featx.index.metric import MetricName
from featx.modality.content import npy_bytes
from featx.serve.engine import Answer, Engine
from featx.serve.http.problems import Problem, place_of, problem_of
from featx.serve.routes.browsing import ItemId, Name
from featx.serve.routes.wire import Item
from featx.serve.teach.teacher import Example
from featx.serve.thing import Thing
from featx.types import Content

NO_DIRECTION = "its vector is zero, which has no direction and so no cosine"


class NewExample(msgspec.Struct, forbid_unknown_fields=True):
    """An item to be taught.

    Attributes
    ----------
    input : item
    id : str or None
        Made of the item itself where none is given.
    label : str or None
    """

    input: Item
    id: ItemId | None = None
    label: Name | None = None


class ExamplesBody(msgspec.Struct, forbid_unknown_fields=True):
    """What is taught.

    Attributes
    ----------
    examples : array of NewExample
    replace : bool
        Whether an item of the same id gives way.
    """

    examples: list[NewExample]
    replace: bool = False


def comparable(answer: Answer | FeatxError, metric: MetricName) -> Answer | FeatxError:
    """Return a vector; an error in the place of one that the metric cannot compare."""
    if metric == "cosine" and isinstance(answer, Answer) and not answer.vector.any():
        return ItemError(NO_DIRECTION)
    return answer


async def example_of(
    thing: Thing,
    engine: Engine,
    content: Content | FeatxError,
    answer: Answer | FeatxError,
    given: NewExample,
    *,
    replaces: bool,
) -> Example | FeatxError:
    """Return an example; the error where its item could not be embedded."""
    if isinstance(answer, FeatxError):
        return answer
    assert not isinstance(content, FeatxError)
    is_vector = isinstance(content, np.ndarray)
    raw = npy_bytes(content) if isinstance(content, np.ndarray) else thing.backbone.read(content)
    made = _facts(thing.backbone, engine, raw, given.label, is_vector=is_vector)
    return Example(
        id=f"taught-{blake3(raw).hexdigest(length=8)}" if given.id is None else given.id,
        vector=answer.vector,
        space=thing.backbone.space,
        facts=await made,
        replace=replaces,
    )


async def _facts(
    backbone: Backbone, engine: Engine, raw: bytes, label: str | None, *, is_vector: bool
) -> ItemFacts:
    """Return what is kept of an item beside its vector; of a vector alone there is nothing."""
    modality = backbone.manifest.modality
    if is_vector and modality != "array":
        return ItemFacts(label=label)
    preview = backbone.modality.preview(raw)
    picture = await engine.thumbnail(raw) if modality == "image" else None
    return ItemFacts(label=label, preview=preview, thumbnail=picture)


def outcomes_of(
    made: Sequence[Example | FeatxError],
    errors: Sequence[FeatxError | None],
    given: Sequence[NewExample],
    held: Held,
    param: str,
) -> list[str | Problem]:
    """Return the id of each example; what HTTP says of one that was not added.

    Parameters
    ----------
    made : sequence of Example or FeatxError
    errors : sequence of FeatxError or None
        What came of the examples among them, in order.
    given : sequence of NewExample
        As they were asked for.
    held : Held
        What the gallery holds.
    param : str
        What they are in: ``examples`` of JSON, which are always numbered, else ``input``.
    """
    count = len(given) if param == "input" else 0
    coming = iter(errors)
    found: list[str | Problem] = []
    for at, (example, asked) in enumerate(zip(made, given, strict=True)):
        place = place_of(at, count, param)
        if isinstance(example, FeatxError):
            found.append(problem_of(example, place))
            continue
        error = next(coming)
        if isinstance(error, TakenError):
            error = TakenError(_why_taken(example.id, held, is_given=asked.id is not None))
        found.append(example.id if error is None else problem_of(error, place))
    return found


def _why_taken(item_id: str, held: Held, *, is_given: bool) -> str:
    """Say which item has an id; where none was given it is the very same one."""
    row = held.find(item_id)
    label = None if row is None else held.item(row)[1].label
    which = f"{item_id!r}, {'without a label' if label is None else f'label {label!r}'}"
    what = "has an item of this id" if is_given else "has this very item"
    how = "give another id, or" if is_given else "to change its label"
    return f"the gallery {what} already: {which}; it stays as it is; {how} send replace: true"
