"""Where items come from.  Adding a kind of source is one file and one line here."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from glob import glob
from itertools import islice
from pathlib import Path
from typing import Any

from featx.data.places import Address, is_url, open_place, require_known, url_of
from featx.data.sources.columns import Columns
from featx.data.sources.options import DescribedSource, Options
from featx.data.sources.part import Part, parse_shard
from featx.data.sources.patterns import expand_braces, is_pattern
from featx.errors import InputError, UnknownNameError
from featx.modality import MODALITIES
from featx.registry import names, resolve

__all__ = [
    "SOURCES",
    "Columns",
    "DescribedSource",
    "Options",
    "guess_modality",
    "kind_of",
    "open_description",
    "open_path",
    "open_source",
]

SOURCES = {
    "arrays": "featx.data.sources.arrays:Arrays",
    "folder": "featx.data.sources.folder:Folder",
    "lines": "featx.data.sources.lines:Lines",
    "list": "featx.data.sources.lines:PathList",
    "paths": "featx.data.sources.paths:Paths",
    "table": "featx.data.sources.table:Table",
    "tar": "featx.data.sources.tar:Tar",
    "tars": "featx.data.sources.tars:Tars",
}
"""Each is called with a path and `Options`; ``paths`` with a list of arguments."""

SUFFIX_KINDS = {
    ".csv": "table",
    ".tsv": "table",
    ".jsonl": "table",
    ".ndjson": "table",
    ".parquet": "table",
    ".txt": "lines",
    ".list": "list",
    ".lst": "list",
    ".npy": "arrays",
    ".npz": "arrays",
    ".tar": "tar",
    ".tar.gz": "tar",
    ".tgz": "tar",
    ".tar.bz2": "tar",
    ".tar.xz": "tar",
}
"""Suffix → kind of source; a file with any other suffix is one item."""

GUESSED_FILES = 1000
"""Files of a folder that `guess_modality` looks at."""

Arguments = str | Path | Sequence[str | Path]


def open_source(
    arguments: Arguments,
    *,
    modality: str,
    columns: Columns | None = None,
    labels_from_folders: bool = True,
    names_contents: bool = False,
) -> DescribedSource:
    """Open what the arguments name, chosen by what they are.

    Parameters
    ----------
    arguments : str, Path or sequence of them
        A folder, table, tar, array file, file of lines, ``@list`` of paths, glob with or without
        braces, ``-`` for standard input, or several of them; each a path or a URL of an object
        store.
    modality : str
        A name of `featx.modality.MODALITIES`.
    columns : Columns, optional
        Which columns of a table to use.
    labels_from_folders : bool, default True
        Whether the first folder below the root is the label.
    names_contents : bool, default False
        See `Options`.

    Returns
    -------
    DescribedSource
        At least one item; nothing more than the first one has been read.

    Raises
    ------
    InputError
        If nothing is found, or what is found cannot be used.
    UnknownNameError
        If there is no such modality.
    """
    known = names("modality", MODALITIES)
    if modality not in known:
        raise UnknownNameError("modality", modality, known)
    options = Options(
        modality=modality,
        columns=columns or Columns(),
        labels_from_folders=labels_from_folders,
        names_contents=names_contents,
    )
    given = _as_list(arguments)
    source: DescribedSource | None = None
    if len(given) == 1 and not is_pattern(given[0], Path()):
        source = open_path(given[0], options, base=Path())
    if source is None:
        source = resolve("source", SOURCES, "paths")(given, options)
    if next(iter(source), None) is None:
        others = f"; {source.skipped} files with other suffixes" if source.skipped else ""
        raise InputError(f"{' '.join(given)}: empty; at least one item is needed{others}")
    return source


def open_description(description: Mapping[str, Any]) -> DescribedSource:
    """Open again what ``source.describe()`` described, a part of a source too.

    Raises
    ------
    InputError
        If it was standard input, or several sources whose sets were merged.
    """
    if description["kind"] == "merge":
        hint = "open the sources of the sets that it was made of"
        raise InputError(f"made by featx merge from several sources; {hint}")
    source = _open_whole(description)
    limit, shard = description.get("limit"), description.get("shard")
    if limit is None and shard is None:
        return source
    return Part(source, limit, parse_shard(shard) if shard else None)


def _open_whole(description: Mapping[str, Any]) -> DescribedSource:
    options = Options(
        modality=description["modality"],
        columns=Columns(**description["columns"]),
        labels_from_folders=description["labels_from_folders"],
    )
    kind, paths = description["kind"], description["paths"]
    source: DescribedSource
    if kind == "paths":
        base = Path(description["base"])
        source = resolve("source", SOURCES, kind)(description["arguments"], options, base=base)
        return source
    if paths == ["-"]:
        raise InputError("-: standard input cannot be read again; pipe it in once more")
    if is_url(paths[0]):
        opened = _open_url(paths[0], options)
        assert opened is not None, "a single file is described by its arguments"
        return opened
    _require_path(Path(paths[0]))
    source = resolve("source", SOURCES, kind)(Path(paths[0]), options)
    return source


def open_path(argument: str, options: Options, *, base: Path) -> DescribedSource | None:
    """Open one path; None if it is a single file to embed.

    Raises
    ------
    InputError
        If it does not exist, or cannot hold items of the modality.
    """
    path = base / argument
    if is_url(argument.removeprefix("@")):
        return _open_url(argument, options)
    if argument == "-":
        kind, path = "lines", Path("-")
    elif argument.startswith("@") and not path.exists():
        kind, path = "list", base / argument[1:]
        _require_path(path)
    else:
        _require_path(path)
        kind = kind_of(path)
    _require_modality(kind, path, options)
    if kind == "file":
        return None
    if kind == "folder" and resolve("source", SOURCES, "tars").is_for(path, options):
        kind = "tars"
    source: DescribedSource = resolve("source", SOURCES, kind)(path, options)
    return source


def _open_url(url: str, options: Options) -> DescribedSource | None:
    """Open what a URL names; None if it is a single file to embed."""
    from featx.data.sources.fetched import Fetched
    from featx.data.sources.storedtars import StoredTars
    from featx.data.sources.tree import StoredTree
    from featx.data.sources.urls import stored_file

    is_list, url = url.startswith("@"), url_of(url.removeprefix("@"))
    name = Path(Address.parse(url).name)
    kind = "list" if is_list else kind_by_name(name)
    _require_modality(kind, url, options)
    if kind != "file":
        return Fetched(url, options, resolve("source", SOURCES, kind))
    if name.suffix.lower() in options.suffixes:
        return None
    tree = StoredTree(open_place(url))
    if not tree.entries:
        stored_file(url)  # raises if there is no such file either
        return None
    if StoredTars.is_for(tree, options):
        return StoredTars(tree, options)
    source: DescribedSource = resolve("source", SOURCES, "folder")(tree, options)
    return source


def _require_modality(kind: str, where: object, options: Options) -> None:
    """Raise where arrays are wanted and a file holds lines, or the other way round."""
    holds_arrays, wants_arrays = kind == "arrays", options.modality == "array"
    if holds_arrays != wants_arrays and kind in {"arrays", "lines"}:
        held = "arrays" if holds_arrays else "lines of text"
        raise InputError(f"{where}: holds {held}; the modality is {options.modality!r}")


def kind_of(path: Path) -> str:
    """Return the kind of source that a path is: a name of `SOURCES`, or ``"file"``.

    Examples
    --------
    >>> kind_of(Path("reviews.CSV")), kind_of(Path("v1.2.tar.gz")), kind_of(Path("cat.jpg"))
    ('table', 'tar', 'file')
    """
    return "folder" if path.is_dir() else kind_by_name(path)


def kind_by_name(path: Path) -> str:
    """Return the kind of source that a file of this name is; see `kind_of`."""
    both, last = "".join(path.suffixes[-2:]).lower(), path.suffix.lower()
    return SUFFIX_KINDS.get(both) or SUFFIX_KINDS.get(last, "file")


def guess_modality(arguments: Arguments, *, columns: Columns | None = None) -> str:
    """Return the modality that the arguments look like.

    Parameters
    ----------
    arguments : str, Path or sequence of them
    columns : Columns, optional
        A column of images or sounds decides for a table.

    Raises
    ------
    InputError
        If no file has a suffix that a modality reads.
    """
    owners = {
        suffix: name
        for name in names("modality", MODALITIES)
        for suffix in Options(modality=name).suffixes
    }
    given = _as_list(arguments)
    files = islice(_files(given), GUESSED_FILES)
    found: Counter[str] = Counter()
    for file in files:
        if kind_of(file) == "tar":
            found.update(_guess_tar(file, owners))
        else:
            found[_guess_file(file, owners, columns or Columns())] += 1
    del found[""]
    if not found:
        raise InputError(f"{' '.join(given)}: no files of a known kind: {' '.join(sorted(owners))}")
    return found.most_common(1)[0][0]


def _guess_file(file: Path, owners: Mapping[str, str], columns: Columns) -> str:
    kind = kind_of(file)
    if kind == "arrays":
        return "array"
    if kind == "table":
        return "image" if columns.image_col else "audio" if columns.audio_col else "text"
    return "text" if kind == "lines" else owners.get(file.suffix.lower(), "")


def _guess_tar(file: Path, owners: Mapping[str, str]) -> Counter[str]:
    """Return modality → members, of the first ones; captions beside images do not count."""
    from featx.data.sources.members import read_members
    from featx.data.sources.walk import suffix_of

    members = islice(read_members(file, lambda _: False, lambda _: False), GUESSED_FILES)
    found = Counter(owners.get(suffix_of(member.name), "") for member in members)
    if found.keys() - {"text", ""}:
        del found["text"]
    return found


def _files(arguments: Sequence[str]) -> Iterator[Path]:
    """Yield the files that arguments name, in folders too; of a URL's a copy where it is needed."""
    from featx.data.sources.lines import PathList
    from featx.data.sources.urls import url_files
    from featx.data.sources.walk import Walk

    for argument in arguments:
        path = Path(argument)
        if argument == "-":
            yield Path("stdin.txt")
        elif is_url(argument.removeprefix("@")):
            yield from url_files(argument)
        elif is_pattern(argument, Path()):
            for pattern in expand_braces(argument):
                matches = map(Path, sorted(glob(pattern, recursive=True)))  # noqa: PTH207
                yield from (match for match in matches if match.is_file())
        elif path.is_dir():
            yield from (path / name for name, problem in Walk(path, None) if not problem)
        elif argument.startswith("@") or kind_of(path) == "list":
            listed = PathList(Path(argument.removeprefix("@")), Options(modality="text"))
            yield from (Path(item.id) for item in listed)
        else:
            yield path


def _as_list(arguments: Arguments) -> list[str]:
    given = [arguments] if isinstance(arguments, (str, Path)) else list(arguments)
    if not given:
        raise InputError("no path: name a folder, a table, files, a glob or - for standard input")
    return [_path_of(str(argument)) for argument in given]


def _path_of(argument: str) -> str:
    """Return an argument, of a ``file://`` URL the path; an ``@`` before it stays."""
    mark = "@" if argument.startswith("@") else ""
    if not is_url(argument[len(mark) :]):
        require_known(argument[len(mark) :])
        return argument
    address = Address.parse(argument[len(mark) :])
    return mark + (address.key if address.scheme == "file" else str(address))


def _require_path(path: Path) -> None:
    if path.exists():
        return
    siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
    near = get_close_matches(path.name, siblings, n=1)
    hint = f"; did you mean {str(path.parent / near[0])!r}?" if near else ""
    raise InputError(f"{path}: no such file or folder{hint}")
