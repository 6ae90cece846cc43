"""Items for a gallery, as vectors of its space: of one embedding set, or encoded by its model."""

from collections.abc import Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featx.cli import options as o

if TYPE_CHECKING:
    from featx.cli.queries import Encoded, IsHeld
    from featx.gallery.gallery import Gallery


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a command line says of items.

    Attributes
    ----------
    items : sequence of str
        What `featx embed` takes, texts, or one embedding set.
    device : str
    threads : int or None
    columns : mapping of str to str or None
        Options such as ``text_col``.
    with_thumbnails : bool
        Whether images shall have thumbnails.
    """

    items: Sequence[str]
    device: str = "auto"
    threads: int | None = None
    columns: Mapping[str, str | None] = field(default_factory=dict)
    with_thumbnails: bool = False


@dataclass(frozen=True, slots=True)
class Windows:
    """Items for a gallery; iterated window by window, in order, it says what is skipped.

    Attributes
    ----------
    items : sized
        All of them; to count them may take a walk through a folder.
    encoded : iterator of Encoded
    """

    items: Sized
    encoded: Iterator["Encoded"]

    def __iter__(self) -> Iterator["Encoded"]:
        """Yield each window."""
        for window in self.encoded:
            for item_id, problem in window.problems:
                o.say(f"skipped {item_id}: {problem}")
            yield window


def windows_for(gallery: "Gallery", asked: Asked, *, is_held: "IsHeld | None" = None) -> Windows:
    """Return the items, which are read, encoded and checked as they are iterated.

    Parameters
    ----------
    gallery : Gallery
    asked : Asked
    is_held : callable, optional
        Of the id of each item: whether to pass it over.

    Raises
    ------
    InputError
        If there are no items, or they are of another kind than those of the gallery.
    SpaceError
        If a set lies in another space.
    """
    from featx.cli.queries import is_set, none_is_held

    windows = _of_set if is_set(asked.items) else _of_items
    return windows(gallery, asked, is_held or none_is_held)


def _of_set(gallery: "Gallery", asked: Asked, is_held: "IsHeld") -> Windows:
    from featx.cli.queries import windows_of
    from featx.errors import InputError
    from featx.gallery.thumbnails import thumbnails_of

    opened = o.open_set(Path(asked.items[0]))
    if not len(opened):
        message = f"{opened.path}: holds no items; run its embed command again"
        raise InputError(message)
    check_space(gallery, str(opened.path), opened.manifest["model"])
    thumbnails = None
    if asked.with_thumbnails:
        thumbnails = thumbnails_of(opened, (each for each in opened.ids if not is_held(each)))
    return Windows(opened, windows_of(opened, thumbnails=thumbnails, is_held=is_held))


def _of_items(gallery: "Gallery", asked: Asked, is_held: "IsHeld") -> Windows:
    from featx.cli.named import NamedItems
    from featx.cli.queries import encode_items
    from featx.data.opening import open_backbone_of

    for item in asked.items:
        _require_item(gallery, item)
    facts = gallery.facts
    settings = o.settings(o.cache_place(), device=asked.device, threads=asked.threads)
    backbone = open_backbone_of(facts, int(facts["dim"]), settings, beside=gallery.path, say=o.say)
    check_space(gallery, backbone.manifest.name, backbone.facts)
    columns = o.columns(dict(asked.columns))
    items = NamedItems(asked.items, backbone.manifest.modality, columns)
    thumbnails = asked.with_thumbnails
    encoded = encode_items(items, backbone, with_thumbnails=thumbnails, is_held=is_held)
    return Windows(items, encoded)


def _require_item(gallery: "Gallery", item: str) -> None:
    """Raise for sets among other items, for galleries, and for texts where none are taken."""
    from featx.cli.queries import is_set
    from featx.errors import InputError

    kind = gallery.facts["modality"]
    if is_set([item]):
        message = f"{item}: is an embedding set; name one, and nothing else"
    elif _exists(Path(item) / "gallery.json"):
        message = f"{item}: is a gallery; name the embedding set that it was made of"
    elif kind != "text" and " " in item.strip() and "*" not in item and not _exists(Path(item)):
        message = (
            f"{item!r}: no such file; {gallery.path} holds items of kind {kind!r} "
            f"({gallery.facts['model']}) and takes files, a folder or a set of them, no texts"
        )
    else:
        return
    raise InputError(message)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a text that is longer than a path may be
        return False


def check_space(gallery: "Gallery", origin: str, model: Mapping[str, Any]) -> None:
    """Apply the rule of spaces: same fingerprint silent, same space said, other space refused.

    Parameters
    ----------
    gallery : Gallery
    origin : str
        Where the vectors come from.
    model : mapping
        What made them: its name, dim, space and fingerprint.

    Raises
    ------
    SpaceError
        Naming the command that mends it.
    """
    from featx.data.space import Made, space_error

    facts = gallery.facts
    if model["space"] != facts["space"]:
        raise space_error(origin, Made.of(model), f"{gallery.path} holds", Made.of(facts))
    if model["fingerprint"] != facts["fingerprint"]:
        o.say("note: same space, other fingerprint: similarities may be off a little")
