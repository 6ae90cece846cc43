"""Items for a gallery, as vectors of its space: of one embedding set, or encoded by its model."""

from collections.abc import Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featx.cli import options as o

if TYPE_CHECKING:
    from featx.backbone.backbone import Backbone
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
    as_queries : bool
        Whether they are only asked about: then texts may be, by the other half of a pair, and
        texts get the prompt of queries.
    prompt : str or None
        Name of the prompt of queries, where it is not to be chosen.
    """

    items: Sequence[str]
    device: str = "auto"
    threads: int | None = None
    columns: Mapping[str, str | None] = field(default_factory=dict)
    with_thumbnails: bool = False
    as_queries: bool = False
    prompt: str | None = None


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
    if asked.prompt is not None:
        message = (
            f"--prompt: {opened.where} holds vectors, made with a prompt or without; leave it out"
        )
        raise InputError(message)
    if not len(opened):
        message = f"{opened.where}: holds no items; run its embed command again"
        raise InputError(message)
    check_space(gallery, opened.where, opened.manifest["model"])
    thumbnails = None
    if asked.with_thumbnails:
        thumbnails = thumbnails_of(opened, (each for each in opened.ids if not is_held(each)))
    return Windows(opened, windows_of(opened, thumbnails=thumbnails, is_held=is_held))


def _of_items(gallery: "Gallery", asked: Asked, is_held: "IsHeld") -> Windows:
    from featx.cli.named import NamedItems
    from featx.cli.queries import encode_items
    from featx.data.opening import open_backbone_of
    from featx.data.queries import for_queries, has_unused_prompt, open_partner

    facts = gallery.facts
    settings = o.settings(o.cache_place(), device=asked.device, threads=asked.threads)
    backbone = open_backbone_of(facts, int(facts["dim"]), settings, beside=gallery.path, say=o.say)
    theirs = _for_partner(asked, backbone)
    for item in asked.items:
        if item not in theirs:
            _require_item(gallery, item)
    check_space(gallery, backbone.manifest.name, backbone.facts)
    if asked.as_queries and asked.prompt is None and has_unused_prompt(backbone):
        o.say("note: the model has a prompt for queries: --prompt=query (--prompt= for none)")
    is_by_text = bool(theirs) and backbone.manifest.modality != "text"
    if asked.as_queries:
        backbone = for_queries(backbone, None if is_by_text else asked.prompt)
    columns = o.columns(dict(asked.columns))
    others = [item for item in asked.items if item not in theirs]
    items = NamedItems(others, backbone.manifest.modality, columns)
    thumbnails = asked.with_thumbnails
    encoded = encode_items(items, backbone, with_thumbnails=thumbnails, is_held=is_held)
    if not theirs:
        return Windows(items, encoded)
    other = open_partner(backbone, prompt=asked.prompt or "" if is_by_text else "", say=o.say)
    named = NamedItems(theirs, other.manifest.modality, columns)
    of_theirs = (
        replace(window, is_of_partner=True)
        for window in encode_items(named, other, with_thumbnails=thumbnails)
    )
    return Windows(asked.items, chain(of_theirs, encoded) if others else of_theirs)


def _for_partner(asked: Asked, backbone: "Backbone") -> list[str]:
    """Return which queries are of the other half of a pair: texts, or files in a gallery of texts.

    Of files those of its suffixes; folders and tables are of the gallery's own kind.
    """
    from featx.cli.named import names_file

    tower = backbone.manifest.tower
    if not asked.as_queries or tower is None:
        return []
    from featx.modality.audio import Audio
    from featx.modality.image import Image

    if tower.role == "text":
        suffixes = Image.suffixes | Audio.suffixes
        files = [item for item in asked.items if Path(item).suffix.lower() in suffixes]
        return [item for item in files if names_file(item, suffixes)]
    own = backbone.modality.suffixes
    return [item for item in asked.items if item != "-" and not names_file(item, own)]


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
    from featx.data.queries import are_apart
    from featx.data.space import Made, space_error

    facts = gallery.facts
    if model["space"] != facts["space"]:
        raise space_error(origin, Made.of(model), f"{gallery.path} holds", Made.of(facts))
    prompts = str(model.get("prompt") or ""), str(facts.get("prompt") or "")
    if model["fingerprint"] != facts["fingerprint"] and not are_apart(*prompts):
        o.say("note: same space, other fingerprint: similarities may be off a little")
