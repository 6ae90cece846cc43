"""Find backbones by name, and check that their files are the right ones.

Looked for in this order: folders of ``FEATX_ZOO`` (separated as in ``PATH``), the user's own zoo,
the zoo that travels with featx.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from featx.errors import InputError, ManifestError, UnknownNameError
from featx.fingerprint import file_sha256
from featx.zoo.manifest import Manifest


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
    chosen = [Path(place) for place in os.environ.get("FEATX_ZOO", "").split(os.pathsep) if place]
    return [*chosen, user_zoo(), embedded_zoo()]


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
    raise UnknownNameError("model", name, names())


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
    for check in check_files(manifest):
        if check.problem:
            message = f"{manifest.name}: {check.path}: {check.problem}; restore the file"
            raise InputError(message)


def golden_file(manifest: Manifest) -> Path:
    """Return where the backbone's golden vectors lie, if it has any."""
    return manifest.folder / "golden" / f"{manifest.name}.npz"


def add(manifest_path: Path, *, graph: Path | None = None) -> Manifest:
    """Copy a backbone into the user's zoo and return its manifest there.

    Parameters
    ----------
    manifest_path : Path
        Its TOML file; the other files are found relative to it.
    graph : Path or None
        The ONNX file, if it lies elsewhere.

    Raises
    ------
    ManifestError
        If the manifest is wrong.
    InputError
        If a file is missing or has another sha256, or the name is taken.
    """
    manifest = Manifest.read(manifest_path)
    if manifest.name in names():
        message = f"{manifest.name}: a model of this name exists; choose another name"
        raise InputError(message)
    origins = {role: manifest.file(role) for role in manifest.files}
    if graph is not None:
        origins["graph"] = graph
    for role, origin in origins.items():
        found = file_sha256(origin) if origin.is_file() else "missing"
        if role not in manifest.files or found != manifest.files[role].sha256:
            said = manifest.files[role].sha256 if role in manifest.files else "nothing"
            message = f"{origin}: sha256 {found}; the manifest says {said}"
            raise InputError(message)
    target = user_zoo()
    for role, origin in origins.items():
        place = target / manifest.files[role].path
        if place.is_file() and file_sha256(place) != manifest.files[role].sha256:
            message = f"{place}: another model's file is there; name it otherwise in the manifest"
            raise InputError(message)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(origin, place)
    golden = golden_file(manifest)
    if golden.is_file():
        (target / "golden").mkdir(parents=True, exist_ok=True)
        shutil.copyfile(golden, target / "golden" / golden.name)
    target.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(manifest_path, target / f"{manifest.name}.toml")
    return find(manifest.name)
