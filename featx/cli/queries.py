"""Items that are named on the command line, turned into vectors."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from featx.types import Item

if TYPE_CHECKING:
    from featx.backbone.backbone import Backbone
    from featx.data.sources.columns import Columns
    from featx.types import Sample, Vectors

WINDOW_ITEMS = 256


@dataclass(frozen=True, slots=True)
class Encoded:
    """Queries of one window: their ids and vectors (N, D), and what could not be read."""

    ids: list[str]
    X: "Vectors"
    problems: list[tuple[str, str]]


def is_set(arguments: Sequence[str]) -> bool:
    """Return whether the arguments name one embedding set."""
    try:
        return len(arguments) == 1 and (Path(arguments[0]) / "manifest.json").is_file()
    except OSError:  # a text that is longer than a path may be
        return False


def encode(
    arguments: Sequence[str], backbone: "Backbone", columns: "Columns | None" = None
) -> Iterator[Encoded]:
    """Encode what the arguments name, window by window, in order.

    For a text model, an argument that names no file is a text itself.
    """
    items = _items(arguments, backbone.manifest.modality, columns)
    while window := list(islice(items, WINDOW_ITEMS)):
        yield _encode_window(window, backbone)


def _items(arguments: Sequence[str], modality: str, columns: "Columns | None") -> Iterator[Item]:
    from featx.data.sources import open_source

    literal = [a for a in arguments if modality == "text" and a != "-" and not _names_file(a)]
    for text in literal:
        yield Item(id=text, content=text)
    if named := [argument for argument in arguments if argument not in literal]:
        yield from open_source(named, modality=modality, columns=columns)


def _names_file(argument: str) -> bool:
    """Return whether an argument is a path, not a text; a misspelt ``mails.csv`` is a path."""
    from featx.data.sources import SUFFIX_KINDS
    from featx.modality.text import Text

    try:
        if Path(argument).exists():
            return True
    except OSError:
        return False
    if any(character.isspace() for character in argument):
        return False
    is_suffix_known = Path(argument).suffix.lower() in {*SUFFIX_KINDS, *Text.suffixes}
    return is_suffix_known or argument.startswith("@") or any(mark in argument for mark in "*[")


def _encode_window(window: Sequence[Item], backbone: "Backbone") -> Encoded:
    from featx.errors import ItemError

    samples: list[Sample] = []
    ids: list[str] = []
    problems: list[tuple[str, str]] = []
    for item in window:
        try:
            if item.problem:
                raise ItemError(item.problem)
            samples.append(backbone.load(backbone.read(item.content)))
            ids.append(item.id)
        except ItemError as error:
            problems.append((item.id, str(error)))
    return Encoded(ids, backbone.encode_samples(samples), problems)
