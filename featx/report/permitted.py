"""Which files a page may read: those of a set's own source, and only as they were embedded.

A path in a set is a text that anyone may have written.  A file is read if it lies, links followed,
below a folder of the source or one that the user names; and it is used if its bytes have the
digest of the item, so that whoever made the set knew them already.  A source that names all of a
disk or of a home names no folder.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from featx.data.origin import Contents, contents_of
from featx.data.places import is_url
from featx.data.store import EmbeddingSet
from featx.errors import InputError
from featx.fingerprint import digest
from featx.modality.content import read_bytes
from featx.types import Content, Span, Stored

_PATTERN = frozenset("*?[{")


def open_folders(source: Mapping[str, Any], roots: Sequence[Path]) -> list[Path]:
    """Return the folders that may be read, resolved.

    Parameters
    ----------
    source : mapping
        ``source`` of a manifest; of merged sets that of each is among its ``sources``.
    roots : sequence of Path
        That the user names, beside those that the items of the set came from.
    """
    paths = dict.fromkeys(path for each in each_source(source) for path in each.get("paths", ()))
    named = filter(None, (_folder(Path(p)) for p in paths if p != "-" and not is_url(p)))
    return [*(root.resolve() for root in roots), *(each for each in named if not _is_wide(each))]


def each_source(source: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield a source, or those that a merged set has."""
    if source.get("kind") != "merge":
        yield source
    for part in source.get("sources", ()):
        yield from each_source(part)


def is_below(path: Path, folders: Sequence[Path]) -> bool:
    """Return whether a file lies below one of the folders once all links are followed.

    Parameters
    ----------
    path : Path
    folders : sequence of Path
        Resolved.
    """
    try:
        real = path.resolve()
    except (OSError, ValueError):  # ValueError: a null character
        return False
    return any(real.is_relative_to(folder) for folder in folders)


def is_permitted(content: Content, folders: Sequence[Path]) -> bool:
    """Return whether what a source lists may be read; what it holds itself may be."""
    if isinstance(content, Path | Span):
        return is_below(content if isinstance(content, Path) else content.path, folders)
    return not isinstance(content, Stored)


def may_list(source: Mapping[str, Any], folders: Sequence[Path]) -> bool:
    """Return whether all that a source lists its items from lies below one of the folders."""
    paths, arguments = source.get("paths", ()), source.get("arguments", ())
    # An object store would be asked with the reader's own keys.
    if any(is_url(each.removeprefix("@")) for each in (*paths, *arguments)):
        return False
    base = Path(source.get("base", ""))
    return all(
        is_below(path, folders) for path in (*map(Path, paths), *map(base.joinpath, arguments))
    )


def known_contents(embedding_set: EmbeddingSet, roots: Sequence[Path]) -> Contents:
    """Return a function from row numbers to contents that may be read and are what was embedded.

    The function raises `InputError` at the first that is not.

    Parameters
    ----------
    embedding_set : EmbeddingSet
    roots : sequence of Path
        As for `open_folders`.

    Raises
    ------
    InputError
        If the source may not be listed, or cannot be read again.
    """
    source = embedding_set.manifest.get("source") or {}
    folders = open_folders(source, roots)
    if not all(may_list(each, folders) for each in each_source(source)):
        raise InputError("the source of the set may not be read; name its folder with --root")
    contents = contents_of(embedding_set)
    if contents is None:
        raise InputError("the source of the set has moved or changed, or cannot be read again")
    columns = embedding_set.items.select(["id", "digest"]).to_pydict()

    def fetch(rows: Sequence[int]) -> list[Content]:
        found = contents(rows)
        for row, content in zip(rows, found, strict=True):
            if not is_permitted(content, folders):
                problem = "lies outside of the source's folders; name its folder with --root"
            elif digest(_raw(content)).hex() != columns["digest"][row]:
                problem = "is no longer what was embedded"
            else:
                continue
            raise InputError(f"{columns['id'][row]}: {problem}")
        return found

    return fetch


def _raw(content: Content) -> bytes:
    return content.encode() if isinstance(content, str) else read_bytes(content)


def _folder(path: Path) -> Path | None:
    """Return the folder that a path of a source names, or that holds the file."""
    parts = path.parts
    fixed = next((at for at, part in enumerate(parts) if _PATTERN.intersection(part)), len(parts))
    named = Path(*parts[:fixed])
    try:
        return (named if fixed < len(parts) or named.is_dir() else named.parent).resolve()
    except (OSError, ValueError):  # a name that no file can have
        return None


def _is_wide(folder: Path) -> bool:
    """Return whether a folder is a whole disk, or holds all that the user has."""
    try:
        home = Path.home().resolve()
    except RuntimeError:  # nobody knows where it is
        home = folder.parent
    return folder == folder.parent or home.is_relative_to(folder)
