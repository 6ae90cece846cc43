"""Find backbones by name, and check that their files are the right ones.

Looked for in this order: folders of ``FEATX_ZOO`` (separated as in ``PATH``), the user's own zoo,
the zoo that travels with featx.  Zoos at URLs of ``FEATX_ZOO`` are asked by `featx models pull`.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from featx.errors import InputError, ManifestError, UnknownNameError
from featx.fingerprint import file_sha256
from featx.zoo.manifest import Manifest

_PLACE = re.compile(
    r"[A-Za-z][A-Za-z0-9+.-]+://[^/" + os.pathsep + r"]+(?::\d+)?(?:/[^" + os.pathsep + r"]*)?"
    r"|[^" + os.pathsep + r"]+"
)

_SCHEME = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+)://")

SCHEMES = ("https://", "http://", "s3://", "gs://", "az://", "abfs://", "abfss://")

PLACES = "expected folders, https:// URLs and those of object stores: s3://, gs://, az://"


def user_zoo() -> Path:
    """Return the folder that ``featx models add`` writes to."""
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "featx" / "zoo"


def embedded_zoo() -> Path:
    """Return the zoo that travels with featx, installed or in a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "model_zoo"
    return installed if installed.is_dir() else package.parent / "model_zoo"


def folders() -> list[Path]:
    """Return where backbones are looked for, first match first."""
    chosen = [Path(place).expanduser() for place in _places() if not _is_url(place)]
    return [*chosen, user_zoo(), embedded_zoo()]


def remotes() -> list[str]:
    """Return the URLs of ``FEATX_ZOO``, without a slash at the end.

    They are asked by ``featx models pull`` alone, which copies a backbone to the user's zoo.
    """
    return [place.rstrip("/") for place in _places() if _is_url(place)]


def _places() -> list[str]:
    """Split ``FEATX_ZOO``: a colon between paths is none of those of a URL.

    Raises
    ------
    InputError
        If one has a scheme that is not asked.

    Examples
    --------
    >>> with_port = "/team:https://zoo.example:8443/a:/b"
    >>> _PLACE.findall(with_port)
    ['/team', 'https://zoo.example:8443/a', '/b']
    """
    places: list[str] = _PLACE.findall(os.environ.get("FEATX_ZOO", ""))
    for place in places:
        if (found := _SCHEME.match(place)) and not _is_url(place):
            message = f"FEATX_ZOO: {place}: unknown scheme {found['scheme']!r}; {PLACES}"
            raise InputError(message)
    return places


def _is_url(place: str) -> bool:
    return place.startswith(SCHEMES)


def names() -> list[str]:
    """Return the names of all backbones, sorted."""
    return sorted({path.stem for folder in folders() for path in folder.glob("*.toml")})


def find(name: str) -> Manifest:
    """Return the manifest of a backbone.

    Parameters
    ----------
    name : str
        A name, or the path of a ``.toml`` file.

    Raises
    ------
    UnknownNameError
        Naming the nearest known name.
    ManifestError
        If its file is wrong.
    """
    if name.endswith(".toml"):
        return Manifest.read(Path(name))
    for folder in folders():
        path = folder / f"{name}.toml"
        if path.is_file():
            manifest = Manifest.read(path)
            if manifest.name != name:
                message = f"{path}: name = {manifest.name!r}; expected the file's stem {name!r}"
                raise ManifestError(message)
            return manifest
    raise UnknownNameError("model", name, names(), hint=_elsewhere(name))


def _elsewhere(name: str) -> str:
    """Return where else a backbone may be, or what of ``FEATX_ZOO`` is not there."""
    if remotes():
        return f"or run: featx models pull {name}"
    gone = [str(folder) for folder in folders()[:-2] if not folder.is_dir()]
    return f"FEATX_ZOO names {', '.join(gone)}, which is no folder" if gone else ""


def is_here(manifest: Manifest) -> bool:
    """Return whether all files of a backbone lie on this machine; those missing can be pulled."""
    return all(manifest.file(role).is_file() for role in manifest.files)


def can_be_pulled(manifest: Manifest) -> bool:
    """Return whether each missing file of a backbone has a place that it is fetched from."""
    return all(entry.url or manifest.file(role).is_file() for role, entry in manifest.files.items())


@dataclass(frozen=True, slots=True)
class FileCheck:
    """What was found of one file: an empty `problem` means that it is as the manifest says."""

    role: str
    path: Path
    problem: str


def check_files(manifest: Manifest) -> list[FileCheck]:
    """Compare every file with its size and sha256 in the manifest."""
    return [
        FileCheck(role, manifest.file(role), _problem(manifest, role)) for role in manifest.files
    ]


def _problem(manifest: Manifest, role: str) -> str:
    entry, path = manifest.files[role], manifest.file(role)
    if not path.is_file():
        return "missing"
    if (found_bytes := path.stat().st_size) != entry.size_bytes:
        return f"{found_bytes} bytes; the manifest says {entry.size_bytes}"
    if (found := file_sha256(path)) != entry.sha256:
        return f"sha256 {found}; the manifest says {entry.sha256}"
    return ""


def require_files(manifest: Manifest) -> None:
    """Raise if a file of the backbone is missing or not the right one.

    Raises
    ------
    InputError
        Naming the file, what was found and what the manifest says.
    """
    if not is_here(manifest) and can_be_pulled(manifest):
        message = f"{manifest.name}: not on this machine; run: featx models pull {manifest.name}"
        raise InputError(message)
    for check in check_files(manifest):
        if check.problem:
            message = f"{manifest.name}: {check.path}: {check.problem}; {_remedy(manifest, check)}"
            raise InputError(message)


def _remedy(manifest: Manifest, check: FileCheck) -> str:
    if not manifest.files[check.role].url:
        return "restore the file"
    return f"delete it and run: featx models pull {manifest.name}"


def golden_file(manifest: Manifest) -> Path:
    """Return where the backbone's golden vectors lie, if it has any."""
    return manifest.folder / "golden" / f"{manifest.name}.npz"
