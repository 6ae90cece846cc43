"""Thing: what a service answers with; a head, a gallery or a backbone, opened as one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from featx.backbone.backbone import Backbone
from featx.data.opening import open_backbone, open_backbone_of
from featx.errors import InputError, StoreError
from featx.gallery.folder import LOCK, read_facts
from featx.gallery.gallery import Gallery
from featx.gallery.snapshot import Snapshot
from featx.heads.headfile import load_head
from featx.heads.predict import Head, check_space
from featx.serve.settings import ServeSettings

Kind = Literal["head", "gallery", "backbone"]

Marks = tuple[object, ...]
"""What differs once a thing has to be opened anew."""


@dataclass(eq=False, kw_only=True)
class Thing:
    """What answers, with the backbone that its vectors are made by.

    Attributes
    ----------
    name : str
        What requests call it: the file's name without its suffix, or the backbone's.
    kind : "head", "gallery" or "backbone"
    path : Path or None
        None of a backbone.
    backbone : Backbone
    head : Head or None
    gallery : Gallery or None
    marks : tuple
        Of its files when it was opened.
    problem : str
        Why the gallery that is at its place now cannot be read, else empty; what was read before
        goes on answering.
    """

    name: str
    kind: Kind
    backbone: Backbone
    path: Path | None = None
    head: Head | None = None
    gallery: Gallery | None = None
    marks: Marks = ()
    problem: str = ""

    def __post_init__(self) -> None:
        self._held = None if self.gallery is None else self.gallery.snapshot

    @property
    def modality(self) -> str:
        """Of the items: text, image, audio or array."""
        return self.backbone.manifest.modality

    @property
    def classes(self) -> list[str]:
        """Labels that it may answer, as far as it knows any."""
        if self.head is not None:
            return list(self.head.classes)
        return self.held.classes if self.gallery is not None else []

    @property
    def held(self) -> Snapshot:
        """What the gallery holds now; what it held, where that cannot be read any more."""
        assert self.gallery is not None
        assert self._held is not None
        try:
            held = self.gallery.snapshot
        except StoreError as error:
            self.problem = str(error)
            return self._held
        if held.base.facts["space"] != self.backbone.space:
            self.problem = f"{self.path}: is of another backbone now, which is not open yet"
            return self._held
        self._held, self.problem = held, ""
        return held

    @property
    def may_write(self) -> bool:
        """Whether its items may be added and removed by this process."""
        return self.gallery is not None and self.gallery.is_writable

    @property
    def can_classify(self) -> bool:
        """Whether it gives labels; a gallery does where items are labelled."""
        return self.head is not None or (self.gallery is not None and bool(self.held.classes))

    @cached_property
    def facts(self) -> Mapping[str, Any]:
        """What a client may want to know, as JSON values."""
        return {
            "kind": self.kind,
            "modality": self.modality,
            "backbone": self.backbone.manifest.name,
            "dim": self.backbone.dim,
            "space": self.backbone.space,
            "fingerprint": self.backbone.fingerprint,
            **({"task": self.head.task} if self.head is not None else {}),
        }

    def close(self) -> None:
        """Close the gallery; a search under way ends undisturbed."""
        if self.gallery is not None:
            self.gallery.close()


def open_thing(settings: ServeSettings, previous: Thing | None = None) -> Thing:
    """Open what `ServeSettings.thing` names.

    Parameters
    ----------
    settings : ServeSettings
    previous : Thing, optional
        Lends its backbone where that is the one that is needed, and its gallery if it may write.

    Raises
    ------
    FeatxError
        If it cannot be opened, or its backbone is of another space.
    """
    path = Path(settings.thing)
    kind = kind_of(path)
    marks = marks_of(path)
    thing = _OPENERS[kind](path, settings, previous)
    thing.marks = marks
    _ = thing.can_classify  # reads the labels of a gallery, which no request shall wait for
    return thing


def kind_of(path: Path) -> Kind:
    """Return what is at a path: a gallery, a head, or else the name of a backbone.

    Raises
    ------
    InputError
        If something else is there.
    """
    if path.suffix == ".knn" or (path / "gallery.json").is_file():
        return "gallery"
    if (path / "manifest.json").is_file():
        raise InputError(
            f"{path}: is an embedding set; serve a head or a gallery of it: "
            f"featx train {path} -o X.head, or featx index {path} -o X.knn"
        )
    if path.suffix == ".head" or (path.is_file() and path.suffix != ".toml"):
        return "head"
    return "backbone"


def marks_of(path: Path) -> Marks:
    """Return what differs once the thing at a path has to be opened anew.

    A head has to be once its file is another.  An open gallery follows what is done to it; not
    another one at its place, or a build with another backbone.  A backbone never changes.
    """
    kind = kind_of(path)
    if kind == "backbone":
        return ()
    try:
        if kind == "gallery":
            facts = read_facts(path)
            return (path / LOCK).stat().st_ino, facts["space"], facts["prompt"]
        found = path.stat()
    except OSError as error:  # a StoreError is one
        return (str(error),)
    return found.st_ino, found.st_mtime_ns, found.st_size


def _backbone_of(
    facts: Mapping[str, Any], dim: int, settings: ServeSettings, previous: Thing | None
) -> Backbone:
    """Return the backbone of a head or gallery: the previous thing's, if it is the same."""
    if previous is not None:
        lent = previous.backbone
        wanted = facts["model"], str(facts.get("prompt") or ""), dim
        if wanted == (lent.manifest.name, lent.facts["prompt"], lent.dim):
            return lent
    return open_backbone_of(facts, dim, settings.backbone)


def _open_head(path: Path, settings: ServeSettings, previous: Thing | None) -> Thing:
    head = load_head(path)
    backbone = _backbone_of(head.header, head.dim, settings, previous)
    check_space(head, backbone.fingerprint, backbone.space)
    return Thing(name=path.stem, kind="head", path=path, backbone=backbone, head=head)


def _open_gallery(path: Path, settings: ServeSettings, previous: Thing | None) -> Thing:
    gallery = _gallery(path, settings, previous)
    try:
        facts = gallery.facts
        backbone = _backbone_of(facts, int(facts["dim"]), settings, previous)
        if backbone.space != facts["space"]:
            raise InputError(
                f"{path}: its vectors lie in another space than those of "
                f"{backbone.manifest.name} here; build it anew: featx index SET -o {path}"
            )
        return Thing(name=path.stem, kind="gallery", path=path, backbone=backbone, gallery=gallery)
    except BaseException:
        gallery.close()
        raise


def _gallery(path: Path, settings: ServeSettings, previous: Thing | None) -> Gallery:
    """Open a gallery; of several processes the first one may write, and keeps that part."""
    is_reader = previous is not None and not previous.may_write
    if is_reader or not settings.may_teach:
        return Gallery.open(path)
    try:
        return Gallery.open(path, writable=True)
    except StoreError:
        if settings.workers == 1:
            raise
        return Gallery.open(path)


def _open_backbone(path: Path, settings: ServeSettings, previous: Thing | None) -> Thing:
    name = str(path)
    if previous is not None:
        return previous
    backbone = open_backbone(name, settings.backbone)
    return Thing(name=backbone.manifest.name, kind="backbone", backbone=backbone)


_OPENERS: dict[Kind, Callable[[Path, ServeSettings, Thing | None], Thing]] = {
    "head": _open_head,
    "gallery": _open_gallery,
    "backbone": _open_backbone,
}
