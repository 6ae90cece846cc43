"""``featx doctor``."""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import click

from featx.cli import options as o
from featx.cli.localpath import LocalPath
from featx.errors import FeatxError

PACKAGES = (
    "numpy",
    "scikit-learn",
    "pyarrow",
    "onnx",
    "skl2onnx",
    "tokenizers",
    "pillow",
    "soundfile",
    "soxr",
    "click",
)

# Distributions that own one package, the one to keep first; two of them overwrite each other.
RUNTIMES = ("onnxruntime-gpu", "onnxruntime")
FAISSES = ("faiss-gpu", "faiss-cpu")

CUDA_LIBRARIES = ("libcuda.so.1", "libcudart.so.13", "libcublas.so.13", "libcudnn.so.9")

NETWORK = re.compile(r"nfs\d?|cifs|smb\d?|smbfs|fuse\.sshfs|ceph|lustre|glusterfs|beegfs")
"""File system types whose locks SQLite cannot rely on."""


@dataclass(slots=True)
class Report:
    """What was found: facts by section, what is broken, and what may become a nuisance."""

    sections: dict[str, dict[str, object]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@click.command()
@click.option("--full", is_flag=True, help="Compare the golden vectors of every backbone too.")
@click.option(
    "--cache-dir",
    type=LocalPath(path_type=Path, file_okay=False),
    envvar="FEATX_CACHE_DIR",
    help="Place of the user-wide cache.  [default: ~/.cache/featx]",
)
@o.json_option
@click.pass_context
def doctor(ctx: click.Context, /, full: bool, cache_dir: Path | None, as_json: bool) -> None:
    """Say what works on this machine and what does not.

    The exit code is 1 if something is broken.
    """
    installed = _installed()
    report = Report()
    _versions(report, installed)
    _distributions(report, installed)
    with _reported(report):
        _providers(report, installed)
    with _reported(report):
        _nearest_neighbours(report)
    report.sections["cuda libraries"] = cuda_libraries(installed)
    report.sections["threads"] = threads(os.environ)
    with _reported(report):
        _cache(report, cache_dir)
    report.sections["object stores"] = object_stores(installed)
    with _reported(report):
        _zoo(report, golden=full)
    if as_json:
        o.print_json({"ok": not report.problems} | asdict(report))
    else:
        _print(report)
    if report.problems:
        ctx.exit(1)


@contextmanager
def _reported(report: Report) -> Iterator[None]:
    """Turn a package that is missing or damaged into a problem, and go on."""
    try:
        yield
    except ImportError as cause:
        report.problems.append(f"{cause.name or 'a package'} cannot be imported: {cause}")


def _print(report: Report) -> None:
    for section, facts in report.sections.items():
        click.echo(section)
        width = max(map(len, facts), default=0)
        for key, value in facts.items():
            click.echo(f"  {key:<{width}}  {value}")
    for warning in report.warnings:
        click.echo(f"warning: {warning}")
    for problem in report.problems:
        click.echo(f"BROKEN: {problem}")
    if not report.problems:
        click.echo("all well")


def _installed() -> dict[str, str]:
    """Return the version of every distribution, by its normalised name."""
    from importlib.metadata import distributions

    found = [(found.metadata["Name"], found.version) for found in distributions()]
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in found if name}


def _versions(report: Report, installed: Mapping[str, str]) -> None:
    import platform

    from featx import __version__

    facts: dict[str, object] = {"python": platform.python_version(), "featx": __version__}
    facts |= {name: installed.get(name, "missing") for name in PACKAGES}
    report.sections["versions"] = facts
    report.problems += [
        f"{name} is not installed; run: pip install {name}"
        for name in PACKAGES
        if name not in installed
    ]


def clash(installed: Mapping[str, str], family: tuple[str, ...]) -> str:
    """Return what is wrong with distributions that own the same package, and the cure.

    Parameters
    ----------
    installed : mapping of str to str
        Normalised distribution name → version.
    family : tuple of str
        Distributions that own one package, the one to keep first.

    Returns
    -------
    str
        Empty if at most one is installed.

    Examples
    --------
    >>> clash({"faiss-cpu": "1.15", "numpy": "2.4"}, ("faiss-gpu", "faiss-cpu"))
    ''
    """
    found = [name for name in family if name in installed]
    if len(found) < 2:
        return ""
    names = sorted(found)
    return (
        f"{' and '.join(names)} overwrite each other; run: pip uninstall -y {' '.join(names)} "
        f"&& pip install --force-reinstall {found[0]}"
    )


def _distributions(report: Report, installed: Mapping[str, str]) -> None:
    facts: dict[str, object] = {}
    for package, family in [("onnxruntime", RUNTIMES), ("faiss", FAISSES)]:
        found = [f"{name} {installed[name]}" for name in family if name in installed]
        facts[package] = ", ".join(found) or "missing"
        if problem := clash(installed, family):
            report.problems.append(problem)
    report.sections["distributions"] = facts


def _providers(report: Report, installed: Mapping[str, str]) -> None:
    """Run a graph on every device that there is."""
    try:
        from featx.backbone import runtime
    except ImportError as cause:
        report.sections["providers"] = {"onnxruntime": "missing"}
        report.problems.append(f"onnxruntime cannot be imported: {cause}; run: {_cure('cpu')}")
        return
    devices = runtime.cuda_devices()
    facts: dict[str, object] = {"onnxruntime": runtime.runtime_version(), "cuda devices": devices}
    report.sections["providers"] = facts
    for device in ["cpu", "cuda"] if devices else ["cpu"]:
        try:
            facts[device] = f"works, as {runtime.prove(device)}"
        except FeatxError as error:
            facts[device] = "does not work"
            message = str(error).removesuffix("; run: featx doctor")
            chosen = device == "cuda" and "onnxruntime-gpu" not in installed
            (report.warnings if chosen else report.problems).append(
                f"{message}; run: {_cure(device)}"
            )


def _cure(device: str) -> str:
    package = "onnxruntime" if device == "cpu" else "onnxruntime-gpu[cuda,cudnn]"
    return f"pip uninstall -y onnxruntime onnxruntime-gpu && pip install {package!r}"


def _nearest_neighbours(report: Report) -> None:
    import numpy as np

    from featx.index.opening import build_index

    X = np.eye(2, dtype=np.float32)
    try:
        rows = build_index("exact", X).search(X, 1).rows.ravel().tolist()
    except FeatxError as error:
        report.warnings.append(f"{error}; exact search runs in numpy until then")
        rows = []
    if rows not in ([], [0, 1]):
        report.problems.append(f"faiss: nearest rows {rows}; expected [0, 1]")
    report.sections["nearest neighbours"] = {"faiss": "works" if rows == [0, 1] else "no"}


def cuda_libraries(installed: Mapping[str, str]) -> dict[str, object]:
    """Return which CUDA libraries can be loaded, and which wheels bring them."""
    import ctypes

    facts: dict[str, object] = {}
    for name in CUDA_LIBRARIES:
        try:
            ctypes.CDLL(name)
        except OSError:
            facts[name] = "not found"
        else:
            facts[name] = "found"
    wheels = sorted(name for name in installed if name.startswith("nvidia-"))
    facts["wheels"] = ", ".join(f"{name} {installed[name]}" for name in wheels) or "none"
    return facts


def threads(environment: Mapping[str, str]) -> dict[str, object]:
    """Return how many cores there are, and how many of them may be used."""
    count = os.cpu_count() or 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else count
    limit = environment.get("OMP_NUM_THREADS", "not set")
    return {"cores": count, "usable": usable, "OMP_NUM_THREADS": limit}


def file_system(path: Path, mounts: str) -> str:
    r"""Return the type of the file system that holds an absolute path.

    Parameters
    ----------
    path : Path
    mounts : str
        Text of ``/proc/mounts``; of two mounts on one place the later one counts.

    Examples
    --------
    >>> file_system(Path("/home/ann"), "/dev/a / ext4 rw 0 0\nhost:/b /home nfs4 rw 0 0")
    'nfs4'
    """
    found = {}
    for line in mounts.splitlines():
        fields = line.split()
        if len(fields) >= 3:
            place = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), fields[1])
            found[Path(place)] = fields[2]
    return next((found[place] for place in [path, *path.parents] if place in found), "unknown")


def network_warning(folder: Path, kind: str) -> str:
    """Return what is wrong with a cache on a file system of this type; empty if nothing is."""
    if not NETWORK.fullmatch(kind):
        return ""
    return (
        f"cache {folder}: on {kind}, a network file system, where SQLite must not be opened; "
        "set FEATX_CACHE_DIR to a local folder"
    )


def _cache(report: Report, chosen: Path | None) -> None:
    from featx.cli.cache import readable_size
    from featx.data.cache import contents
    from featx.data.cachefolder import cache_folder

    folder = cache_folder(chosen).absolute()
    mounts = Path("/proc/mounts")
    text = mounts.read_text(encoding="utf-8", errors="replace") if mounts.is_file() else ""
    kind = file_system(folder.resolve(), text)
    size_bytes = sum(file.size_bytes for file in contents(folder))
    report.sections["cache"] = {
        "folder": str(folder),
        "size": readable_size(size_bytes),
        "file system": kind,
    }
    if warning := network_warning(folder, kind):
        report.warnings.append(warning)
    there = next(place for place in [folder, *folder.parents] if place.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        report.problems.append(
            f"cache {folder}: cannot be written; set FEATX_CACHE_DIR to another folder"
        )


def object_stores(installed: Mapping[str, str]) -> dict[str, object]:
    """Return what reads s3://, gs:// and az://, and which credentials the environment names."""
    from featx.data.places.trouble import CREDENTIALS, endpoint

    facts: dict[str, object] = {"obstore": installed.get("obstore", "missing; featx[s3] has it")}
    for scheme in ("s3", "gs", "az"):
        told = [name for name in CREDENTIALS[scheme] if os.environ.get(name)]
        where = f", at {endpoint(scheme)}" if endpoint(scheme) else ""
        facts[f"{scheme}://"] = f"{' '.join(told) or 'no credentials'}{where}"
    return facts


def _zoo(report: Report, *, golden: bool) -> None:
    from featx.cli.models import describe, verified
    from featx.zoo import catalog

    facts: dict[str, object] = {}
    for name in catalog.names():
        result = verified(name, golden=golden)
        if result.waits:
            facts[name] = "not fetched"
            continue
        facts[name] = "wrong" if result.problems else describe(result).partition(": ")[2]
        report.problems += [f"{name}: {problem}" for problem in result.problems]
    report.sections["zoo"] = facts
    if not facts:
        report.problems.append("zoo: no backbone found; install featx again or set FEATX_ZOO")
