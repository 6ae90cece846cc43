"""Heads from sums that tasks of a Ray cluster made."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from featx.data.rows import Row
from featx.data.store import EmbeddingSet
from featx.data.writer import SetWriter
from featx.heads.headfile import load_head
from featx.train.recipe import Recipe
from featx.train.streaming.run import train_streamed
from rayclusters import cluster, environment

pytest.importorskip("ray", reason="ray is not installed: pip install 'featx[ray]'")
pytestmark = [pytest.mark.ray, pytest.mark.timeout(600), pytest.mark.filterwarnings("default")]

N, DIM, SEGMENT = 2000, 32, 100
TOLERANCE = 1e-5


@pytest.fixture
def opened(tmp_path: Path) -> EmbeddingSet:
    rng = np.random.default_rng(0)
    codes = rng.integers(4, size=N)
    X = (rng.normal(size=(N, DIM)) + rng.normal(size=(4, DIM))[codes]).astype(np.float32)
    facts = {"name": "relu", "modality": "array", "normalize": False, "dim": DIM}
    facts |= {"fingerprint": "f" * 64, "space": "5" * 64}
    with SetWriter(tmp_path / "a.emb", model=facts, segment_rows=SEGMENT) as writer:
        for start in range(0, N, SEGMENT):
            ids = range(start, start + SEGMENT)
            rows = [Row(id=f"i{i}", digest=f"{i + 1:064x}", label=f"c{codes[i]}") for i in ids]
            writer.append(rows, X[start : start + SEGMENT])
        writer.seal()
    return EmbeddingSet.open(tmp_path / "a.emb")


def train(path: Path, name: str, address: str) -> "subprocess.CompletedProcess[str]":
    """Train in the folder of a set, by a relative path; the nodes run in another folder."""
    command = [sys.executable, "-m", "featx", "train", path.name, "-o", name]
    asked = ["--head", "ridge", "--engine", "ray", "--address", address]
    return subprocess.run(
        [*command, *asked],
        cwd=path.parent,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )


def test_two_nodes_make_the_head_of_one_process(opened: EmbeddingSet, tmp_path: Path) -> None:
    wanted = train_streamed(opened, Recipe(head="ridge"))

    with cluster(1, 1) as nodes:
        done = train(opened.path, "x.head", nodes.address)
        again = train(opened.path, "z.head", nodes.address)
        (opened.path / "segment-00003.npy").unlink()
        failed = train(opened.path, "y.head", nodes.address)

    assert done.returncode == 0, done.stderr
    found = load_head(tmp_path / "x.head")
    for name, array in wanted.arrays.items():
        limit = TOLERANCE * np.abs(array).max()
        np.testing.assert_allclose(found.arrays[name], array, rtol=0, atol=limit)
    assert again.returncode == 0, again.stderr
    for name, array in load_head(tmp_path / "z.head").arrays.items():
        np.testing.assert_array_equal(found.arrays[name], array)
    assert found.header["metrics"]["accuracy"] == wanted.header["metrics"]["accuracy"]
    assert failed.returncode == 1
    (line,) = (each for each in failed.stderr.splitlines() if each.startswith("error: "))
    assert "segment-00003.npy" in line
