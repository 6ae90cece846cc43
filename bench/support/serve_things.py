"""What the benches of ``featx serve`` serve, and what they ask: made once below ``.bench/``."""

import csv
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np

from bench.support import drive, knn_problems
from bench.support.places import HOME, ROOT
from featx.backbone.backbone import Backbone, identity
from featx.data.rows import Row
from featx.data.writer import SetWriter
from featx.zoo import catalog

THINGS = HOME / "served"
TOKENS = 12
"""Of each text that is asked about, special tokens included."""

MODEL = "minilm-l6"
BLOCK = 10_000


def gallery(rows: int) -> Path:
    """Return a gallery of vectors of real texts, and their repetitions with noise."""
    problem = knn_problems.real(rows)
    out = THINGS / f"texts-{rows}.knn"
    if not (out / "gallery.json").is_file():
        _featx("index", str(_vector_set(problem)), "-o", str(out), threads=2)
    return out


def queries(rows: int) -> "np.ndarray[tuple[int, int], np.dtype[np.float32]]":
    """Return new vectors to ask the gallery of `rows` about."""
    found: np.ndarray[tuple[int, int], np.dtype[np.float32]] = np.load(
        knn_problems.real(rows).folder() / "Q.npy"
    )
    return found


def _vector_set(problem: knn_problems.Problem) -> Path:
    folder = problem.folder()
    out = THINGS / f"{problem.key}-{problem.rows}.emb"
    if (out / "manifest.json").is_file():
        return out
    X, y = np.load(folder / "X.npy", mmap_mode="r"), np.load(folder / "y.npy")
    facts = Backbone(identity(X.shape[1])).facts
    out.parent.mkdir(parents=True, exist_ok=True)
    with SetWriter(out, model=facts, segment_rows=len(X)) as writer:
        for start in range(0, len(X), BLOCK):
            stop = min(start + BLOCK, len(X))
            numbers = range(start, stop)
            rows = [Row(id=f"item-{i}", digest="00", label=f"class {y[i]}") for i in numbers]
            writer.append(rows, np.array(X[start:stop]))
        writer.seal()
    return out


def text_head() -> Path:
    """Return a head of MiniLM on the sample mails."""
    out = THINGS / "mails.head"
    if not out.is_file():
        THINGS.mkdir(parents=True, exist_ok=True)
        source, made = ROOT / "featx/samples/mails.csv", THINGS / "mails.emb"
        _featx("embed", str(source), "-m", MODEL, "-o", str(made), "--quiet", threads=2)
        _featx("train", str(made), "-o", str(out), threads=2)
    return out


@cache
def short_texts(count: int) -> list[str]:
    """Return different texts of `TOKENS` tokens, cut from the sample mails."""
    backbone = Backbone(catalog.find(MODEL))
    with (ROOT / "featx/samples/mails.csv").open(encoding="utf-8", newline="") as file:
        words = [word for row in csv.DictReader(file) for word in row["text"].split()]
    found: dict[str, None] = {}
    start = 0
    while len(found) < count and start < len(words) - TOKENS:
        for length in range(TOKENS - 2, 1, -1):
            text = " ".join(words[start : start + length])
            if backbone.load(text.encode()).n_tokens == TOKENS:
                found[text] = None
                break
        start += 3
    if len(found) < count:
        sys.exit(f"only {len(found)} texts of {TOKENS} tokens in the sample mails")
    return list(found)


def _featx(*arguments: str, threads: int) -> None:
    subprocess.run(
        [sys.executable, "-m", "featx", *arguments],
        check=True,
        cwd=ROOT,
        env=drive.variables(threads),
        stdout=subprocess.DEVNULL,
    )
