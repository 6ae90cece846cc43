"""What a service says of items, as ``featx predict --server`` shows it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featx.cli import options as o
from featx.cli.predictions import Row, Told

if TYPE_CHECKING:
    from featx.client import Client
    from featx.data.sources.columns import Columns
    from featx.types import Task

WINDOW_ITEMS = 64
"""Items that are read together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What a service answers with; a gallery classifies.

    Attributes
    ----------
    url : str
    facts : mapping
        What the service says of it; see `featx.client.Client.model`.
    """

    url: str
    facts: Mapping[str, Any]

    @property
    def task(self) -> "Task":
        """What is predicted."""
        task: Task = self.facts.get("task", "classify")
        return task

    @property
    def classes(self) -> list[str]:
        """Names of the classes, tags or values."""
        return list(self.facts["classes"])


def windows_of_items(
    client: "Client", served: Served, items: Sequence[str], columns: "Columns"
) -> Iterator[Told]:
    """Yield what the service says of items that are named, window by window, in order."""
    from featx.cli.named import NamedItems
    from featx.client import as_object
    from featx.errors import ItemError

    modality = str(served.facts["modality"])
    source = iter(NamedItems(items, modality, columns))
    while window := list(islice(source, WINDOW_ITEMS)):
        ids, objects, problems = [], [], []
        for item in window:
            try:
                if item.problem:
                    raise ItemError(item.problem)
                objects.append(as_object(item.content, modality))
                ids.append(item.id)
            except ItemError as error:
                problems.append((item.id, str(error)))
        told = _told(client, served, ids, objects)
        yield Told(told.rows, problems + told.problems)


def windows_of_set(client: "Client", served: Served, path: Path) -> Iterator[Told]:
    """Yield what the service says of the vectors of a set.

    Raises
    ------
    SpaceError
        If they lie in another space than what is served.
    """
    import numpy as np

    from featx.data.finite import require_finite
    from featx.data.space import Made, space_error

    opened, facts = o.open_set(path), served.facts
    made = opened.manifest["model"]
    if made["space"] != facts["space"]:
        wanted = Made.of({**facts, "model": facts["backbone"]})
        raise space_error(str(path), Made.of(made), f"{served.url} serves", wanted)
    if made["fingerprint"] != facts["fingerprint"]:
        o.say("note: same space, other fingerprint: answers may be off a little")
    for start in range(0, len(opened), WINDOW_ITEMS):
        X = np.asarray(opened.X[start : start + WINDOW_ITEMS])
        require_finite(opened, X)
        yield _told(client, served, opened.ids[start : start + WINDOW_ITEMS], list(X))


def _told(client: "Client", served: Served, ids: Sequence[str], items: Sequence[Any]) -> Told:
    told = Told([], [])
    top = 0 if served.task == "multilabel" else 1
    for item_id, found in zip(ids, client.classify(items, top=top), strict=True):
        if "error" in found:
            told.problems.append((item_id, found["error"]["message"]))
        else:
            said = _SAID[served.task](found, served.classes)
            told.rows.append({"id": o.printable(item_id), **said})
    return told


def _class(found: Mapping[str, Any], _: Sequence[str]) -> Row:
    return {name: found[name] for name in ("label", "probability", "set", "novel")}


def _tags(found: Mapping[str, Any], names: Sequence[str]) -> Row:
    probabilities = {name: found["probabilities"][name] for name in names}
    return {"tags": found["tags"], "probabilities": probabilities, "novel": found["novel"]}


def _values(found: Mapping[str, Any], names: Sequence[str]) -> Row:
    values, intervals = ([found[what][name] for name in names] for what in ("values", "intervals"))
    return {"values": values, "intervals": intervals, "novel": found["novel"]}


_SAID: dict[str, Callable[[Mapping[str, Any], Sequence[str]], Row]] = {
    "classify": _class,
    "multilabel": _tags,
    "regress": _values,
}
