"""Fetching the files that a manifest names: of the zoo that travels with featx, or of another."""

import shutil
from collections.abc import Callable, Container
from dataclasses import dataclass, replace
from http import HTTPStatus
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from featx.data.files import explained
from featx.data.places import is_url
from featx.errors import InputError, ServerError, UnknownNameError
from featx.fingerprint import file_sha256
from featx.onboard.fetch.download import small_file
from featx.onboard.fetch.files import MOST_BYTES, Files, Say, open_files, require_size
from featx.onboard.fetch.origin import parse_origin
from featx.onboard.fetch.stored import small_stored
from featx.onboard.placing import place, require_free, require_name, staging
from featx.zoo import catalog
from featx.zoo.manifest import FileEntry, Manifest
from featx.zoo.writing import manifest_text

MOST_MANIFEST_BYTES = 1 << 20
MOST_GOLDEN_BYTES = 256 << 20

ABSENT = (HTTPStatus.NOT_FOUND, HTTPStatus.FORBIDDEN)
"""What servers say where nothing is; stores such as S3 the latter, if one may not list them."""


@dataclass(frozen=True, slots=True)
class Shared:
    """A manifest that was found somewhere, with its golden vectors.

    Attributes
    ----------
    manifest : Manifest
    is_here : bool
        Whether it lies on this machine; files in its folder are copied, others have a URL.
    golden : callable
        Writes the golden vectors to a path, if there are any.
    """

    manifest: Manifest
    is_here: bool
    golden: Callable[[Path], None]


def pull(
    name: str, *, limit_bytes: int = MOST_BYTES, say: Say = lambda _: None
) -> tuple[Manifest, bool]:
    """Fetch what is missing of a backbone, and return its manifest and whether anything was.

    Parameters
    ----------
    name : str
        Of `featx models list`, or of a zoo at a URL of ``FEATX_ZOO``.
    limit_bytes : int
        Largest file that is fetched.
    say : callable, optional
        Told of each download.

    Raises
    ------
    UnknownNameError
        If no zoo has it.
    InputError
        If a file is not what the manifest says, or the manifest does not say where it is.
    ServerError
        If a file cannot be fetched; run again, it continues.
    """
    try:
        manifest = catalog.find(name)
    except UnknownNameError as cause:
        shared = _remote(name)
        if shared is None and catalog.remotes():
            asked = f"nor has {', '.join(catalog.remotes())} one of that name"
            raise UnknownNameError("model", name, catalog.names(), hint=asked) from cause
        if shared is None:
            raise
        return adopt(shared, limit_bytes=limit_bytes, say=say), True
    if catalog.is_here(manifest):
        catalog.require_files(manifest)
        return manifest, False
    if manifest.folder == catalog.embedded_zoo():
        return adopt(_local(manifest), limit_bytes=limit_bytes, say=say), True
    _complete(manifest, limit_bytes, say)
    return manifest, True


def add_manifest(  # noqa: PLR0913  (the flags of the command)
    what: str,
    *,
    graph: Path | None = None,
    name: str = "",
    checks: Callable[[Manifest], None] = lambda _: None,
    zoo: Path | None = None,
    limit_bytes: int = MOST_BYTES,
    say: Say = lambda _: None,
) -> Manifest:
    """Take over a manifest that somebody shared, with all of its files.

    Parameters
    ----------
    what : str
        Path of the TOML file, or its URL with its sha256.
    graph : Path, optional
        The ONNX file, if it lies elsewhere.
    name : str, optional
        What to call it; by default as the manifest does.
    checks : callable, optional
        Run on the backbone before anything is written into the zoo; raises if it may not be added.
    zoo : Path, optional
        Folder to write to; by default the user's own.
    limit_bytes : int
        Largest file that is fetched.
    say : callable, optional
        Told of each download.

    Raises
    ------
    InputError
        If the manifest is wrong, its name is taken, or a file is not what it says.
    ServerError
        If a file cannot be fetched.
    """
    origin = parse_origin(what)
    if origin.kind == "path":
        shared = _local(Manifest.read(Path(origin.place).expanduser()))
    else:
        with staging(zoo or catalog.user_zoo()) as stage:
            files = open_files(origin, limit_bytes=MOST_MANIFEST_BYTES, say=say)
            files.take(files.chosen, stage / "manifest.toml")
            raw = (stage / "manifest.toml").read_bytes()
            files.close()
        shared = _of_url(raw, origin.place, origin.place.rpartition("/")[0])
    manifest = replace(shared.manifest, name=name or shared.manifest.name)
    require_free(manifest.name)
    # Read again as it will be written, so that what is in a zoo can be read.
    again = Manifest.from_bytes(manifest_text(manifest).encode(), folder=Path(), where=what)
    shared = replace(shared, manifest=replace(again, folder=manifest.folder))
    return adopt(shared, graph=graph, checks=checks, zoo=zoo, limit_bytes=limit_bytes, say=say)


def adopt(
    shared: Shared,
    *,
    graph: Path | None = None,
    checks: Callable[[Manifest], None] = lambda _: None,
    zoo: Path | None = None,
    limit_bytes: int = MOST_BYTES,
    say: Say = lambda _: None,
) -> Manifest:
    """Copy or fetch all files of a manifest into a zoo, and then the manifest itself."""
    zoo = zoo or catalog.user_zoo()
    manifest, opened = shared.manifest, list[Files]()
    require_name(manifest.name)
    with staging(zoo) as stage:
        entries = {
            role: replace(entry, path=f"{manifest.name}/{_beside(entry, manifest)}")
            for role, entry in manifest.files.items()
        }
        for role, entry in entries.items():
            local = manifest.file(role) if shared.is_here else None
            if graph is not None and role == "graph":
                local = graph
            opened += _take(entry, local, stage / entry.path, limit_bytes, say)
        shared.golden(stage / "golden" / f"{manifest.name}.npz")
        staged = replace(manifest, files=entries, folder=stage)
        checks(staged)
        (placed,) = place(staged, zoo=zoo)
    for files in opened:
        files.close()
    return placed


def _beside(entry: FileEntry, manifest: Manifest) -> str:
    """Return a file's path relative to the graph, which finds its weights by that."""
    path = PurePosixPath(entry.path)
    above = PurePosixPath(manifest.files["graph"].path).parent
    return path.relative_to(above).as_posix() if path.is_relative_to(above) else path.name


def _complete(manifest: Manifest, limit_bytes: int, say: Say) -> None:
    """Fetch what is missing into the folder that the manifest lies in."""
    opened = list[Files]()
    with staging(manifest.folder) as stage:
        for number, (role, entry) in enumerate(manifest.files.items()):
            target, fetched = manifest.file(role), stage / str(number)
            if not target.is_file():
                opened += _take(entry, target, fetched, limit_bytes, say)
                with explained(target):
                    target.parent.mkdir(parents=True, exist_ok=True)
                    fetched.replace(target)
    for files in opened:
        files.close()


def _take(
    entry: FileEntry, local: Path | None, target: Path, limit_bytes: int, say: Say
) -> list[Files]:
    """Copy a file that is here, or fetch it; return what it was fetched from."""
    if local is not None and local.is_file():
        with explained(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(local, target)
        _require_right(target, entry, str(local))
        return []
    if not entry.url:
        message = f"{local or entry.path}: missing, and its manifest has no url of it; put it there"
        raise InputError(message)
    origin = parse_origin(entry.url)
    if origin.kind == "path":
        message = f"{entry.path}: its url {entry.url!r} is a path; expected hf:, pypi: or https:"
        raise InputError(message)
    require_size(entry.url, entry.size_bytes, limit_bytes)
    files = open_files(origin, limit_bytes=limit_bytes, say=say)
    files.take(files.chosen, target)
    _require_right(target, entry, entry.url)
    return [files]


def _require_right(path: Path, entry: FileEntry, where: str) -> None:
    found = file_sha256(path)
    if found != entry.sha256:
        message = f"{where}: sha256 {found}; the manifest says {entry.sha256}; it is another file"
        raise InputError(message)


def _local(manifest: Manifest) -> Shared:
    """Return a manifest on this machine."""
    golden = catalog.golden_file(manifest)

    def copy(target: Path) -> None:
        if golden.is_file():
            with explained(target):
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(golden, target)

    return Shared(manifest, is_here=True, golden=copy)


def _remote(name: str) -> Shared | None:
    """Return a manifest of the first zoo at a URL that has it.

    Raises
    ------
    ServerError
        If none has it, and one refuses to say whether it does.
    """
    refusals = list[ServerError]()
    for zoo in catalog.remotes():
        try:
            raw = _small(_below(zoo, f"{name}.toml"), most_bytes=MOST_MANIFEST_BYTES)
        except ServerError as error:
            if error.status not in ABSENT:
                raise
            refusals.append(error)
            continue
        if raw is not None:
            shared = _of_url(raw, f"{zoo}/{name}.toml", zoo)
            if shared.manifest.name != name:
                message = f"{zoo}/{name}.toml: name = {shared.manifest.name!r}; expected {name!r}"
                raise InputError(message)
            return shared
    if refusals:
        raise refusals[0]
    return None


def _below(base: str, path: str) -> str:
    """Return the URL of a file of a zoo; a key of an object store is written as it is."""
    return f"{base}/{path if is_url(base) else quote(path)}"


def _small(
    url: str, *, most_bytes: int, absent: Container[int] = (HTTPStatus.NOT_FOUND,)
) -> bytes | None:
    """Return a small file of a URL, or None if there is none; see `small_file`."""
    if is_url(url):
        return small_stored(url, most_bytes=most_bytes)
    return small_file(url, most_bytes=most_bytes, absent=absent)


def _of_url(raw: bytes, url: str, base: str) -> Shared:
    """Return a manifest of a URL: files without a place of their own lie beside it."""
    manifest = Manifest.from_bytes(raw, folder=Path(), where=url)

    def fetch(target: Path) -> None:
        where = f"{base}/golden/{manifest.name}.npz"
        found = _small(where, most_bytes=MOST_GOLDEN_BYTES, absent=ABSENT)
        if found is not None:
            with explained(target):
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(found)

    entries = {
        role: entry
        if entry.url
        else replace(entry, url=f"{_below(base, entry.path)}#sha256={entry.sha256}")
        for role, entry in manifest.files.items()
    }
    return Shared(replace(manifest, files=entries), is_here=False, golden=fetch)
