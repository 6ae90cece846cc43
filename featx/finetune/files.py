"""The files that a fine-tuning run writes, and what may be in their way."""

import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from featx.data.files import explained
from featx.errors import InputError, ManifestError, StoreError
from featx.fingerprint import file_sha256
from featx.heads.headfile import load_head, refuse_strangers
from featx.zoo import catalog
from featx.zoo.catalog import golden_file
from featx.zoo.manifest import Manifest

SUFFIX = ".onnx"

MARK = "finetune"
"""Key of the header of every head that a run writes; see `mark`."""


@dataclass(frozen=True, slots=True)
class Files:
    """The files of a tuned backbone, all named after ``-o``.

    Parameters
    ----------
    graph : Path
        ``<name>.onnx``.
    """

    graph: Path

    @property
    def name(self) -> str:
        """What the backbone is called."""
        return self.graph.stem

    @property
    def folder(self) -> Path:
        """Where all of them lie."""
        return self.graph.parent

    @property
    def manifest(self) -> Path:
        """The manifest."""
        return self.graph.with_suffix(".toml")

    @property
    def head(self) -> Path:
        """The head."""
        return self.graph.with_suffix(".head")

    @property
    def weights(self) -> Path:
        """What does not fit into one ONNX file."""
        return self.graph.with_suffix(".onnx.data")

    @property
    def tokenizer(self) -> Path:
        """The tokenizer of a text model."""
        return self.graph.with_suffix(".tokenizer.json")

    @property
    def golden(self) -> Path:
        """Items and their vectors, to verify the backbone by."""
        return self.folder / "golden" / f"{self.name}.npz"

    def facts(self, *, is_tuned: bool) -> dict[str, str | None]:
        """Return where graph, manifest and head were written, as JSON values."""
        return {
            "out": str(self.graph) if is_tuned else None,
            "manifest": str(self.manifest) if is_tuned else None,
            "head": str(self.head),
        }

    def of_backbone(self) -> list[Path]:
        """Return all files but the head; the manifest, which names the others, comes last."""
        return [self.graph, self.weights, self.tokenizer, self.golden, self.manifest]

    def in_order(self) -> list[Path]:
        """Return all files, the manifest last."""
        return [self.head, *self.of_backbone()]


def require_place(out: Path) -> Files:
    """Return the files to write, or raise before the training if they cannot be written.

    Raises
    ------
    InputError
        If `out` does not end in ``.onnx``, or a backbone of the zoo has its name.
    StoreError
        If its folder is missing, or files that no run wrote are in the way.
    """
    files = Files(out)
    if out.suffix != SUFFIX or not files.name:
        message = f"{out}: unknown suffix {out.suffix!r}; expected a name that ends in {SUFFIX}"
        raise InputError(message)
    if files.name in catalog.names() and not _is_ours(files):
        message = f"{out}: a model is called {files.name!r} already; choose another name"
        raise InputError(message)
    _require_room(files)
    _refuse_other_heads(files)
    found = [place for place in files.of_backbone() if place.exists()]
    if found and not _is_ours(files):
        message = f"{found[0]}: a file that finetune did not write is in the way"
        raise StoreError(f"{message}; choose another name")
    return files


def require_apart(files: Files, parent: Manifest) -> None:
    """Raise if a file of the backbone that is tuned would be replaced.

    Raises
    ------
    InputError
    """
    own = [parent.file(role) for role in parent.files]
    own += [parent.folder / f"{parent.name}.toml", golden_file(parent)]
    taken = {path.resolve() for path in own}
    for place in files.in_order():
        if place.resolve() in taken:
            message = f"{place}: is a file of the backbone that is tuned; choose another name"
            raise InputError(message)


def require_space(files: Files, size_bytes: int) -> None:
    """Raise before the training if the disk has no room for what it may write.

    Parameters
    ----------
    files : Files
    size_bytes : int
        Of the graph; what lies beside it is small.

    Raises
    ------
    StoreError
    """
    with explained(files.folder):
        free_bytes = shutil.disk_usage(files.folder).free
    if free_bytes < size_bytes:
        found = f"{free_bytes / 1e6:,.1f} MB are free"
        message = f"{files.graph}: {found}; a tuned backbone takes {size_bytes / 1e6:,.1f} MB"
        raise StoreError(f"{message}; free some space, or choose another place")


def mark(parent: Manifest, tuned: Manifest | None) -> dict[str, Any]:
    """Return what the header of a head says of the run that wrote it, as JSON values.

    Parameters
    ----------
    parent : Manifest
    tuned : Manifest or None
        Of the tuned backbone; None where the parent stays as it is.
    """
    return {
        "parent": parent.name,
        "tuned": tuned is not None,
        "graph": tuned and tuned.files["graph"].sha256,
    }


def _require_room(files: Files) -> None:
    """Raise if no file can be made, or a folder is in the way of one."""
    if not files.folder.is_dir():
        message = f"{files.graph}: {files.folder} is no folder; make it, or choose another place"
        raise StoreError(message)
    for place in files.in_order():
        if place.is_dir():
            message = f"{place}: a folder is in the way; choose another name"
            raise StoreError(message)
    for folder in (files.folder, files.golden.parent):
        if folder.exists():
            with explained(folder), TemporaryDirectory(dir=folder, prefix=".featx-"):
                pass


def _refuse_other_heads(files: Files) -> None:
    """Raise before a head is replaced that ``-o`` does not stand for."""
    refuse_strangers(files.head)
    if files.head.exists() and _marked(files) is None:
        message = f"{files.head}: a head that finetune did not write is in the way"
        raise StoreError(f"{message}; choose another name")


def _marked(files: Files) -> dict[str, Any] | None:
    """Return the mark of the head, if a run of this name wrote it."""
    header = load_head(files.head).header
    found = header.get(MARK)
    if not isinstance(found, dict) or (found.get("tuned") and header.get("model") != files.name):
        return None
    return found


def _is_ours(files: Files) -> bool:
    """Return whether an earlier run of this name wrote the backbone that is there."""
    with suppress(ManifestError):
        made = Manifest.read(files.manifest)
        return made.tuned is not None and made.name == files.name
    return not files.manifest.exists() and _is_left_over(files)


def _is_left_over(files: Files) -> bool:
    """Return whether a run was killed before it wrote the manifest, which comes last.

    The graph is the one that the head names, and no other of that name.
    """
    if not (files.head.exists() and files.graph.exists()):
        return False
    found = _marked(files)
    return found is not None and found.get("graph") == file_sha256(files.graph)
