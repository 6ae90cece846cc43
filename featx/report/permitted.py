"""Which files a page may show: those of a set's own source, and only as they were embedded.

A path in a set is a text that anyone may have written.  A file is read if it lies, links followed,
below a folder of the source or one that the user names; and it is shown if its bytes have the
digest of the item, so that whoever made the set knew them already.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from featx.types import Content, Span

_PATTERN = frozenset("*?[{")


def own_folders(source: Mapping[str, Any]) -> list[Path]:
    """Return the folders that the items of a set came from, as its manifest describes them.

    Parameters
    ----------
    source : mapping
        ``source`` of a manifest; of merged sets that of each is among its ``sources``.
    """
    paths = [path for each in each_source(source) for path in each.get("paths", ())]
    return [_folder(Path(path)) for path in dict.fromkeys(paths) if path != "-"]


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
    return True


def _folder(path: Path) -> Path:
    """Return the folder that a path of a source names, or that holds the file."""
    parts = path.parts
    fixed = next((at for at, part in enumerate(parts) if _PATTERN.intersection(part)), len(parts))
    named = Path(*parts[:fixed])
    return (named if fixed < len(parts) or named.is_dir() else named.parent).resolve()
