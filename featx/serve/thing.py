"""Thing: what a service answers with; a head, a gallery or a backbone, opened as one."""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any, Literal
from zipfile import is_zipfile

from featx.backbone.backbone import Backbone
from featx.data.opening import open_backbone, open_backbone_of
from featx.data.queries import for_queries
from featx.data.space import Made, space_error
from featx.errors import InputError, StoreError, UnknownNameError
from featx.export import DEPLOYABLE, FORMATS
from featx.fingerprint import file_digest
from featx.gallery.folder import FACTS, LOCK, read_facts
from featx.gallery.gallery import Gallery
from featx.gallery.held import Held
from featx.heads.headfile import load_head
from featx.heads.predict import Head, check_space
from featx.serve.settings import ServeSettings

Kind = Literal["head", "gallery", "backbone"]

Marks = tuple[object, ...]
"""What differs once a thing has to be opened anew."""

_FILE = f".{DEPLOYABLE}"

_SERVED, _EXPORTED = {".head", ".knn", _FILE}, {f".{form}" for form in FORMATS}

_EMBED = "embed it, then serve a gallery or a head of that: featx embed, featx index or featx train"


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
    digest : str
        BLAKE3 of the head, or of ``gallery.json``, when it was opened; empty of a backbone.
    opened_s : float
        When it was, in seconds since 1970.
    """

    name: str
    kind: Kind
    backbone: Backbone
    path: Path | None = None
    head: Head | None = None
    gallery: Gallery | None = None
    marks: Marks = ()
    problem: str = ""
    digest: str = ""
    opened_s: float = field(default_factory=time.time)

    def __post_init__(self) -> None:
        self._held = None if self.gallery is None else self.gallery.snapshot

    @property
    def modality(self) -> str:
        """Of the items: text, image, audio or array."""
        return self.backbone.manifest.modality

    @cached_property
    def queries(self) -> Backbone:
        """What tokenises what a gallery is searched for: the backbone, but for the prompt."""
        return self.backbone if self.gallery is None else for_queries(self.backbone)

    @property
    def classes(self) -> list[str]:
        """Labels that it may answer, as far as it knows any."""
        if self.head is not None:
            return list(self.head.classes)
        return self.held.classes if self.gallery is not None else []

    @property
    def held(self) -> Held:
        """What the gallery holds now; what it held, where that cannot be read any more."""
        assert self.gallery is not None
        assert self._held is not None
        try:
            held = self.gallery.snapshot
        except StoreError as error:
            self.problem = str(error)
            return self._held
        if held.facts["space"] != self.backbone.space:
            self.problem = f"{self.path}: is of another backbone now, which is not open yet"
            return self._held
        self._held, self.problem = held, ""
        return held

    @property
    def asks_servers(self) -> bool:
        """Whether what its gallery holds is asked over a network, which takes its time."""
        return self.gallery is not None and self.gallery.facts.get("backend", "files") != "files"

    @property
    def may_write(self) -> bool:
        """Whether its items may be added and removed by this process."""
        return self.gallery is not None and self.gallery.is_writable

    @property
    def can_classify(self) -> bool:
        """Whether it gives labels; a gallery does where items are labelled."""
        if self.gallery is None:
            return self.head is not None
        # What it held a moment ago mostly tells; to look anew asks the disk, for every request.
        return bool(self._held and self._held.label_counts) or bool(self.held.label_counts)

    @property
    def description(self) -> str:
        """What it is, in words: ``1,200 items of efficientnet-lite0``."""
        model = self.backbone.manifest.name
        if self.gallery is not None:
            return f"{len(self.held):,} items of {model}"
        if self.head is not None:
            return f"a head of {len(self.classes):,} classes on {model}"
        return f"a backbone of {self.modality}"

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
            **({"digest": self.digest} if self.digest else {}),
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
        Lends its backbone where that is the one that is needed.  Of several processes those whose
        gallery was read only read the next one too.

    Raises
    ------
    FeatxError
        If it cannot be opened, or its backbone is of another space.
    """
    path = Path(settings.thing)
    kind = kind_of(path)
    marks, digest = marks_of(path), _digest_of(path, kind)
    thing = _OPENERS[kind](path, settings, previous)
    thing.marks, thing.digest = marks, digest
    _ = thing.can_classify  # reads the labels of a gallery, which no request shall wait for
    return thing


def open_to_write(thing: Thing) -> Thing:
    """Return a thing anew with its gallery opened to be changed.

    Raises
    ------
    FeatxError
        If another process writes to it, or another gallery is at its place by now.
    """
    assert thing.path is not None
    gallery = Gallery.open(thing.path, writable=True)
    try:
        if marks_of(thing.path) != thing.marks:
            raise StoreError(f"{thing.path}: was replaced meanwhile")
        return replace(thing, gallery=gallery)
    except BaseException:
        gallery.close()
        raise


def kind_of(path: Path) -> Kind:
    """Return what is at a path: a gallery, a head or an exported one, or else a backbone's name.

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
    if path.suffix in {".head", _FILE}:
        return "head"
    if path.suffix == ".toml" or not path.is_file():
        return "backbone"
    if path.suffix in _EXPORTED:
        raise InputError(f"{path}: is an exported head; serve the .head file that it is of")
    if not is_zipfile(path):  # as a head of any name is
        raise InputError(f"{path}: is neither a head nor a gallery; {_EMBED}")
    return "head"


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


def _digest_of(path: Path, kind: Kind) -> str:
    if kind == "backbone":
        return ""
    with suppress(OSError):  # what opens it says so better
        return file_digest(path / FACTS if kind == "gallery" else path)
    return ""


def _backbone_of(
    path: Path, facts: Mapping[str, Any], dim: int, settings: ServeSettings, previous: Thing | None
) -> Backbone:
    """Return the backbone of a head or gallery: the previous thing's, if it is the same."""
    if previous is not None:
        lent = previous.backbone
        wanted = facts["model"], str(facts.get("prompt") or ""), dim
        if wanted == (lent.manifest.name, lent.facts["prompt"], lent.dim):
            return lent
    return open_backbone_of(facts, dim, settings.backbone, beside=path)


def _open_head(path: Path, settings: ServeSettings, previous: Thing | None) -> Thing:
    if path.suffix == _FILE:
        return _open_file(path, settings)
    head = load_head(path)
    backbone = _backbone_of(path, head.header, head.dim, settings, previous)
    check_space(head, backbone.fingerprint, backbone.space)
    return Thing(name=path.stem, kind="head", path=path, backbone=backbone, head=head)


def _open_file(path: Path, settings: ServeSettings) -> Thing:
    """Open an ONNX file of `featx export`, which mostly is its own backbone."""
    from featx.export.deployable import open_deployable

    file = open_deployable(path, settings.backbone)
    if not file.is_whole:
        check_space(file.head, file.backbone.fingerprint, file.backbone.space)
    return Thing(name=path.stem, kind="head", path=path, backbone=file.backbone, head=file.head)


def _open_gallery(path: Path, settings: ServeSettings, previous: Thing | None) -> Thing:
    gallery = _gallery(path, settings, previous)
    try:
        facts = gallery.facts
        backbone = _backbone_of(path, facts, int(facts["dim"]), settings, previous)
        if backbone.space != facts["space"]:
            made = Made.of(backbone.facts)
            raise space_error("the backbone here", made, f"{path} holds", Made.of(facts))
        return Thing(name=path.stem, kind="gallery", path=path, backbone=backbone, gallery=gallery)
    except BaseException:
        gallery.close()
        raise


def _gallery(path: Path, settings: ServeSettings, previous: Thing | None) -> Gallery:
    """Open a gallery; of several processes the one that may write keeps that part.

    Where it cannot, the gallery is read until a `Reloader` can `open_to_write`.
    """
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
    try:
        backbone = open_backbone(name, settings.backbone)
    except UnknownNameError as cause:
        if path.is_dir():
            raise InputError(f"{path}: is a folder; {_EMBED}") from cause
        things = [found.name for found in path.parent.glob("*") if found.suffix in _SERVED]
        near = get_close_matches(path.name, things, n=1)
        if near and "did you mean" not in str(cause):
            hint = f"did you mean {str(path.parent / near[0])!r}?"
            raise InputError(f"{path}: no such file or backbone; {hint}") from cause
        raise
    return Thing(name=backbone.manifest.name, kind="backbone", backbone=backbone)


_OPENERS: dict[Kind, Callable[[Path, ServeSettings, Thing | None], Thing]] = {
    "head": _open_head,
    "gallery": _open_gallery,
    "backbone": _open_backbone,
}
