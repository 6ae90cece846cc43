"""The commands and the Python of the documents run as they are printed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from featx import samples

ROOT = Path(__file__).parents[1]
FENCE = re.compile(r"^```(console|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
IMAGES_A_CLASS = 6
TEST_COMMAND = '.venv/bin/pip install -q -e ".[dev]" && make check test PYTHON=.venv/bin/python'


def documents() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(language: str) -> list[tuple[Path, str]]:
    """Return (document, text) of every block in `language`."""
    return [
        (path, text)
        for path in documents()
        for found, text in FENCE.findall(path.read_text(encoding="utf-8"))
        if found == language
    ]


def featx_commands(document: Path) -> list[str]:
    """Return the lines ``$ featx ...``; ``.ci/run`` runs those that install and test."""
    texts = [text for path, text in blocks("console") if path == document]
    lines = "\n".join(texts).splitlines()
    return [line.removeprefix("$ ") for line in lines if line.startswith("$ featx ")]


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """Give a folder with what the documents speak of: ``photos/<class>/*.png`` and ``new/``."""
    clipart = Path(samples.__file__).parent / "clipart"
    (tmp_path / "new").mkdir()
    for folder in sorted(path for path in clipart.iterdir() if path.is_dir()):
        files = sorted(folder.glob("*.png"))
        target = tmp_path / "photos" / folder.name
        target.mkdir(parents=True)
        for file in files[:IMAGES_A_CLASS]:
            (target / file.name).symlink_to(file)
    (tmp_path / "new" / "mug.png").symlink_to(files[-1])
    return tmp_path


def environment(tmp_path: Path) -> dict[str, str]:
    """Return variables under which ``featx`` is this checkout, with a cache of its own."""
    shim = tmp_path / "bin" / "featx"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m featx "$@"\n', encoding="utf-8")
    shim.chmod(0o755)
    return {
        **os.environ,
        "PATH": f"{shim.parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "FEATX_CACHE_DIR": str(tmp_path / "cache"),
    }


@pytest.mark.parametrize(
    "document",
    [path for path in documents() if featx_commands(path)],
    ids=lambda path: path.name,
)
def test_the_commands_of_a_document_run_in_order(document: Path, desk: Path) -> None:
    variables = environment(desk)

    for command in featx_commands(document):
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=desk,
            env=variables,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize(
    ("document", "code"),
    [pytest.param(*block, id=f"{block[0].name}-{i}") for i, block in enumerate(blocks("python"))],
)
def test_the_python_of_a_document_runs(document: Path, code: str, desk: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=desk,
        env=environment(desk),
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, f"{document.name}\n{code}\n{done.stderr}"


def test_the_ci_script_runs_the_test_command_of_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")

    assert f"$ {TEST_COMMAND}\n" in readme
    assert script.endswith(f"{TEST_COMMAND}\n")


def test_links_between_documents_lead_somewhere() -> None:
    broken = [
        f"{path.name}: {target}"
        for path in [*documents(), ROOT / "CONTRIBUTING.md"]
        for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", path.read_text(encoding="utf-8"))
        if not (path.parent / target).exists()
    ]

    assert broken == []
