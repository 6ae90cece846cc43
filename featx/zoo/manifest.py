"""Backbone manifests: all that defines a backbone, read strictly from one TOML file.

Adding a backbone adds ``model_zoo/<name>.toml`` and its files, and changes no code.
"""

import re
import tomllib
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Self, TypedDict, Unpack

from featx.errors import InputError, ManifestError
from featx.fingerprint import hash_facts
from featx.zoo.options import (
    ArrayOptions,
    AudioOptions,
    ImageOptions,
    TextOptions,
    option_facts,
)
from featx.zoo.strict import read_table, require_plain

__all__ = [
    "Adjustments",
    "ArrayOptions",
    "AudioOptions",
    "FileEntry",
    "ImageOptions",
    "Manifest",
    "Pooling",
    "Precision",
    "TextOptions",
    "Tower",
    "Tuned",
]

SCHEMA = 1

_ROLE = re.compile(r"[a-z][a-z0-9_.-]*")

Pooling = Literal["none", "mean", "cls", "last_token"]
Precision = Literal["fp32", "fp16", "int8"]


class Adjustments(TypedDict, total=False):
    """What a user may choose of a manifest: see `ImageOptions.decode`, `TextOptions.overflow`."""

    decode: Literal["exact", "fast"]
    overflow: Literal["cut", "chunk"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry:
    """One file of a backbone: its place relative to the manifest, and what it must hash to."""

    path: str
    sha256: str
    size_bytes: int
    url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tower:
    """One half of a pair of backbones that share a space, such as CLIP's.

    Attributes
    ----------
    role : {"image", "text", "audio"}
        The modality of this half.
    partner : str
        Name of the other half.
    logit_scale : float or None
        What the pair was trained to multiply cosines with, before the softmax.
    """

    role: Literal["image", "text", "audio"]
    partner: str
    logit_scale: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """What a backbone was fine-tuned from, and how; for people.

    Attributes
    ----------
    parent, parent_fingerprint : str
        Name and fingerprint of the backbone whose last layers were trained.
    cut : str
        Value of the graph after which all was trained.
    tune : {"all", "norm"}
    epochs, items : int
        Passes that were kept, and the items of one.
    classes : tuple of str
        What the items were told apart by.
    """

    parent: str
    parent_fingerprint: str
    cut: str
    tune: Literal["all", "norm"]
    epochs: int
    items: int
    classes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """One frozen backbone.

    Attributes
    ----------
    schema : int
        Version of this format.
    name : str
        What users type; the stem of the file.
    modality : str
        Key of `featx.modality.MODALITIES`.
    summary, license, source, citation : str
        For people: what it is, the SPDX identifier of the weights' licence, where the weights
        come from, what to cite.  They do not change a vector and are not in the fingerprint.
    weights : str
        Identity of the trained weights, whatever file or precision holds them; two manifests
        with the same `weights`, pooling, normalisation and width share a space.
    dim : int
        Width D of an embedding.
    dims : tuple of int
        Smaller widths that the first columns may be cut to (Matryoshka), if trained for it.
    pooling : {"none", "mean", "cls", "last_token"}
        How token rows (T, D) become one row; ``"none"`` if the graph's output is (N, D) already.
    normalize : bool
        Whether vectors are scaled to unit length at the end.
    max_length : int or None
        Longest text in tokens, special tokens counted.
    files : dict of str to FileEntry
        ``graph`` and, for text, ``tokenizer``.  Empty for the identity of arrays.
    inputs, outputs : dict of str to str
        Role → name in the graph.  Outputs: ``embedding``, or ``tokens`` if `pooling` is not
        ``"none"``; optionally ``logits``.
    prompts : dict of str to str
        Name → text put before an item.
    measured : dict
        Facts that were measured, with their unit in the key.
    tower : Tower or None
        Of one half of a pair; it changes no vector and is not in the fingerprint.
    tuned : Tuned or None
        Of a backbone that ``featx finetune`` wrote.
    folder : Path
        Where the manifest lies; `files` are relative to it.
    """

    schema: int
    name: str
    modality: str
    summary: str
    license: str
    source: str
    weights: str
    dim: int
    pooling: Pooling
    normalize: bool
    citation: str = ""
    dims: tuple[int, ...] = ()
    max_length: int | None = None
    precision: Precision = "fp32"
    files: dict[str, FileEntry] = field(default_factory=dict)
    inputs: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    prompts: dict[str, str] = field(default_factory=dict)
    text: TextOptions | None = None
    image: ImageOptions | None = None
    audio: AudioOptions | None = None
    array: ArrayOptions | None = None
    tower: Tower | None = None
    tuned: Tuned | None = None
    measured: dict[str, Any] = field(default_factory=dict)
    folder: Path = Path()

    @classmethod
    def read(cls, path: Path) -> Self:
        """Parse and check one file.

        Raises
        ------
        ManifestError
            Naming the file, the key, what was found and what is allowed.
        """
        try:
            raw = path.read_bytes()
        except OSError as cause:
            message = f"{path}: cannot be read: {cause.strerror}"
            raise ManifestError(message) from cause
        return cls.from_bytes(raw, folder=path.parent, where=str(path))

    @classmethod
    def from_bytes(cls, raw: bytes, *, folder: Path, where: str) -> Self:
        """Parse and check what a file holds; `where` starts the messages."""
        try:
            table = tomllib.loads(raw.decode())
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as cause:
            message = f"{where}: not a TOML file: {cause}"
            raise ManifestError(message) from cause
        return cls.from_table(table, folder=folder, where=where)

    @classmethod
    def from_table(cls, table: dict[str, Any], *, folder: Path, where: str) -> Self:
        """Check a parsed table; `where` starts the messages."""
        schema = table.get("schema")
        if type(schema) is int and schema > SCHEMA:
            message = f"{where}: schema {schema} is newer than {SCHEMA}; upgrade featx"
            raise ManifestError(message)
        if "folder" in table:
            message = f"{where}: unknown key 'folder'"
            raise ManifestError(message)
        require_plain(table, where)
        manifest = replace(read_table(cls, table, where), folder=folder)
        _check(manifest, where)
        return manifest

    def file(self, role: str) -> Path:
        """Return the path of one of the backbone's files.

        Raises
        ------
        ManifestError
            If the manifest names no such file.
        """
        if role not in self.files:
            message = f"{self.name}: its manifest names no {role!r} file"
            raise ManifestError(message)
        return self.folder / self.files[role].path

    @property
    def output_role(self) -> Literal["embedding", "tokens"]:
        """Which output becomes the embedding."""
        return "embedding" if self.pooling == "none" else "tokens"

    @property
    def output(self) -> str:
        """The graph's name of that output."""
        return self.outputs[self.output_role]

    def space(self, *, dim: int | None = None) -> str:
        """Return the name of the space its vectors lie in; vectors of one space may be compared."""
        return hash_facts(
            {
                "featx-space": 1,
                "weights": self.weights,
                "pooling": self.pooling,
                "normalize": self.normalize,
                "dim": dim or self.dim,
            }
        )

    def adjusted(self, **changes: Unpack[Adjustments]) -> Self:
        """Return a manifest that decodes or treats long texts in another way.

        Raises
        ------
        InputError
            If its modality has no such choice.
        """
        decode, overflow = changes.get("decode", "exact"), changes.get("overflow", "cut")
        if decode != "exact" and self.image is None:
            message = f"{self.name}: fast preprocessing is for images, not for {self.modality}"
            raise InputError(message)
        if overflow != "cut" and (self.modality != "text" or self.max_length is None):
            message = f"{self.name}: chunks are for texts that may be too long for the model"
            raise InputError(message)
        image = self.image and replace(self.image, decode=decode)
        text = self.text or (TextOptions() if self.modality == "text" else None)
        return replace(self, image=image, text=text and replace(text, overflow=overflow))

    @property
    def adjustments(self) -> Adjustments:
        """What `adjusted` was called with, where it is not the default."""
        found = Adjustments()
        if self.image is not None and self.image.decode != "exact":
            found["decode"] = self.image.decode
        if self.text is not None and self.text.overflow != "cut":
            found["overflow"] = self.text.overflow
        return found

    def facts(self) -> dict[str, Any]:
        """Return every fact of the manifest that changes a vector, as JSON values."""
        table = asdict(self)
        kept = ("modality", "weights", "dim", "pooling", "normalize", "max_length", "precision")
        facts = {key: table[key] for key in kept}
        facts["files"] = {role: entry.sha256 for role, entry in sorted(self.files.items())}
        facts["inputs"], facts["outputs"] = table["inputs"], table["outputs"]
        options = self.options
        facts["options"] = options and option_facts(options)
        return facts

    @property
    def options(self) -> TextOptions | ImageOptions | AudioOptions | ArrayOptions | None:
        """The table of its modality; texts have one even if none is written."""
        tables = {"image": self.image, "audio": self.audio, "array": self.array}
        return self.text or TextOptions() if self.modality == "text" else tables.get(self.modality)


def _check(manifest: Manifest, where: str) -> None:
    """Raise `ManifestError` where values contradict each other."""
    problem = ""
    output = manifest.output_role
    if manifest.dim < 1:
        problem = f"dim = {manifest.dim}; expected 1 or more"
    elif wide := [dim for dim in manifest.dims if not 0 < dim <= manifest.dim]:
        problem = f"dims holds {wide[0]}; expected widths from 1 to dim = {manifest.dim}"
    elif "graph" in manifest.files and output not in manifest.outputs:
        problem = f"[outputs] has no {output!r}, which pooling = {manifest.pooling!r} needs"
    elif unsafe := _files_problem(manifest):
        problem = unsafe
    elif tower := _tower_problem(manifest):
        problem = f"[tower] {tower}"
    elif wrong := [(key, p) for key, p in _option_problems(manifest) if p]:
        problem = "[{}] {}".format(*wrong[0])
    if problem:
        message = f"{where}: {problem}"
        raise ManifestError(message)


def _files_problem(manifest: Manifest) -> str:
    for role, entry in manifest.files.items():
        if not _ROLE.fullmatch(role):
            return f"[files] has the key {role!r}; expected a role, such as graph or tokenizer"
        if not _stays_inside(entry.path):
            return f"file {entry.path!r} must lie below the manifest's folder"
    return ""


def _tower_problem(manifest: Manifest) -> str:
    tower = manifest.tower
    if tower is None:
        return ""
    if tower.role != manifest.modality:
        return f"role = {tower.role!r}; expected the modality, {manifest.modality!r}"
    if tower.partner in {"", manifest.name}:
        return f"partner = {tower.partner!r}; expected the name of the other half"
    if tower.logit_scale is not None and not 0 < tower.logit_scale < float("inf"):
        return f"logit_scale = {tower.logit_scale}; expected a number above 0"
    return ""


def _option_problems(manifest: Manifest) -> list[tuple[str, str]]:
    tables = {"image": manifest.image, "audio": manifest.audio}
    is_endless = manifest.text and manifest.text.padding != "longest" and not manifest.max_length
    if is_endless:
        return [("text", "padding = 'max_length' needs max_length")]
    return [(key, table.problem()) for key, table in tables.items() if table is not None]


def _stays_inside(path: str) -> bool:
    return not Path(path).is_absolute() and ".." not in Path(path).parts
