"""What travels in the wheel, and that it works away from the checkout."""

import os
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from featx.zoo import catalog

ROOT = Path(__file__).parents[1]

ZOO = [
    "efficientnet-lite0",
    "efficientnet-lite0-layers",
    "ge2e",
    "minilm-l6",
    "minilm-l6-int8",
    "minilm-l6-layers",
    "paraphrase-minilm-l3",
]


def run(*command: str, cwd: Path, pythonpath: str = "") -> str:
    environment = {**os.environ, "PYTHONPATH": pythonpath, "FEATX_ZOO": "", "XDG_DATA_HOME": "none"}
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_checkout_finds_the_zoo_beside_the_package() -> None:
    embedded = sorted(path.stem for path in catalog.embedded_zoo().glob("*.toml"))

    assert embedded == ZOO


@pytest.mark.slow
def test_the_wheel_carries_the_zoo_and_the_samples_and_works_alone(tmp_path: Path) -> None:
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path), cwd=ROOT)
    (wheel,) = tmp_path.glob("*.whl")
    with ZipFile(wheel) as archive:
        held = set(archive.namelist())
    target = tmp_path / "site"
    pip = (sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index")
    run(*pip, "--target", str(target), str(wheel), cwd=tmp_path)

    listed = run(
        sys.executable, "-m", "featx", "models", "list", cwd=tmp_path, pythonpath=str(target)
    )

    assert [line.split()[0] for line in listed.splitlines()] == ["name", *ZOO]
    assert {f"featx/{path}" for path in zoo_files()} <= held
    assert {"featx/samples/mails.csv", "featx/py.typed"} <= held
    assert not [name for name in held if name.startswith("featx/model_zoo/build")]


def zoo_files() -> set[str]:
    """Return every file of the checkout's manifests that is not fetched, and what goes with it."""
    files = set()
    for path in (ROOT / "model_zoo").glob("*.toml"):
        manifest = catalog.find(str(path))
        files |= {f"model_zoo/{e.path}" for e in manifest.files.values() if not e.url}
        files |= {f"model_zoo/{path.name}", f"model_zoo/golden/{path.stem}.npz"}
        if not manifest.files["graph"].url:
            files.add(f"model_zoo/LICENSES/{path.stem}.txt")
    return files
