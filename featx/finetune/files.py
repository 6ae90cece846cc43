"""The files that a fine-tuning run writes, and what may be in their way."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from tempfile import TemporaryDirectory

from featx.data.files import explained, sync_file, sync_folder
from featx.errors import InputError, ManifestError, StoreError
from featx.heads.headfile import load_head, refuse_strangers
from featx.zoo import catalog
from featx.zoo.catalog import golden_file
from featx.zoo.manifest import Manifest

SUFFIX = ".onnx"

MARK = "finetune"
"""Key of the header of every head that a run writes."""


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
    if not files.folder.is_dir():
        message = f"{out}: {files.folder} is no folder; make it, or choose another place"
        raise StoreError(message)
    for place in files.in_order():
        if place.is_dir():
            message = f"{place}: a folder is in the way; choose another name"
            raise StoreError(message)
    if files.golden.parent.exists() and not files.golden.parent.is_dir():
        message = f"{files.golden.parent}: a file is in the way of the folder; choose another place"
        raise StoreError(message)
    with explained(out), TemporaryDirectory(dir=files.folder, prefix=f".{files.name}."):
        pass  # so it can be written
    _refuse_other_heads(files.head)
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


def _refuse_other_heads(path: Path) -> None:
    """Raise before a head of ``featx train`` is replaced."""
    refuse_strangers(path)
    if path.exists() and MARK not in load_head(path).header:
        message = f"{path}: a head that finetune did not write is in the way; choose another name"
        raise StoreError(message)


def _is_ours(files: Files) -> bool:
    """Return whether an earlier run wrote what is there; one that was killed left no manifest."""
    with suppress(ManifestError):
        if Manifest.read(files.manifest).tuned is not None:
            return True
    has_manifest, has_head = files.manifest.exists(), files.head.exists()
    return has_head and not has_manifest and MARK in load_head(files.head).header


@contextmanager
def staged(files: Files) -> Iterator[Files]:
    """Give a folder for the files, from which they take their places, the manifest last.

    A manifest names the hashes of its files, so that one of an earlier run and a new graph are
    never taken for one backbone.
    """
    with (
        explained(files.graph),
        TemporaryDirectory(dir=files.folder, prefix=f".{files.name}.", suffix=".tmp") as folder,
    ):
        made = Files(Path(folder) / files.graph.name)
        yield made
        pairs = list(zip(made.in_order(), files.in_order(), strict=True))
        present = [source.exists() for source, _ in pairs]
        for source, _ in compress(pairs, present):
            sync_file(source)
        for source, target in compress(pairs, present):
            target.parent.mkdir(exist_ok=True)
            source.replace(target)
        for is_new, (_, target) in zip(present, pairs, strict=True):
            if not is_new:
                target.unlink(missing_ok=True)
        sync_folder(files.folder)


def remove(files: Files) -> None:
    """Delete the files of a backbone that an earlier run wrote; its head stays.

    Raises
    ------
    StoreError
        If they cannot be deleted.
    """
    with explained(files.graph):
        for path in reversed(files.of_backbone()):
            path.unlink(missing_ok=True)
