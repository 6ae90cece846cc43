"""Embedding sets and galleries for tests, and what a search of them has to answer."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from featx.data.rows import Row
from featx.data.store import EmbeddingSet
from featx.data.writer import SetWriter
from featx.gallery.build import GalleryRecipe, build_gallery
from featx.gallery.gallery import Gallery, ItemFacts, Neighbour
from featx.index.metric import MetricName
from featx.types import Vectors

DIM = 6
MODEL = {
    "name": "identity",
    "modality": "array",
    "dim": DIM,
    "normalize": False,
    "fingerprint": "f" * 64,
    "space": "5" * 64,
}
EXACT = GalleryRecipe(kind="exact")


def vectors(n: int = 60, seed: int = 0) -> Vectors:
    X = np.random.default_rng(seed).standard_normal((n, DIM)).astype(np.float32)
    X[::2, 0] += 3
    return X


def label_of(row: int) -> str | None:
    if row % 5 == 4:
        return None
    return "even" if row % 2 == 0 else "odd"


def split_of(row: int) -> str | None:
    return "train" if row % 3 else "test"


def rows_of(n: int) -> Iterator[Row]:
    for r in range(n):
        yield Row(
            id=f"i{r}",
            digest="00",
            uri=f"/x/{r}",
            label=label_of(r),
            split=split_of(r),
            preview=f"item {r}",
        )


def write_set(
    path: Path, X: Vectors, *, normalize: bool = False, segment: int = 99
) -> EmbeddingSet:
    rows = list(rows_of(len(X)))
    path.parent.mkdir(parents=True, exist_ok=True)
    with SetWriter(path, model=MODEL | {"normalize": normalize}, segment_rows=segment) as writer:
        for start in range(0, len(X), segment):
            writer.append(rows[start : start + segment], X[start : start + segment])
        writer.seal()
    return EmbeddingSet.open(path)


def build(
    folder: Path, recipe: GalleryRecipe = EXACT, *, n: int = 60, segment: int = 99
) -> Gallery:
    embedding_set = write_set(folder / "a.emb", vectors(n), segment=segment)
    return build_gallery(embedding_set, folder / "a.knn", recipe)


def similarities(X: Vectors, q: Vectors, metric: str = "cosine") -> NDArray[np.float64]:
    """Return what the metric says, in plain NumPy."""
    A, b = X.astype(np.float64), q.astype(np.float64)
    if metric == "l2":
        return -np.asarray(np.linalg.norm(A - b, axis=1))
    if metric == "dot":
        return np.asarray(A @ b)
    lengths = np.linalg.norm(A, axis=1) * np.linalg.norm(b)
    return np.asarray(A @ b / np.where(lengths > 0, lengths, 1))


def pairs(found: list[Neighbour]) -> list[tuple[str, float]]:
    return [(neighbour.id, round(neighbour.similarity, 5)) for neighbour in found]


def expected(
    content: dict[str, Vectors], q: Vectors, k: int, metric: str = "cosine"
) -> list[tuple[str, float]]:
    """Return the ids and similarities of the `k` nearest of a dictionary."""
    if not content:
        return []
    near = similarities(np.stack(list(content.values())), q, metric)
    ids = list(content)
    return [(ids[i], round(float(np.float32(near[i])), 5)) for i in np.argsort(-near)[:k]]


NEW = vectors(40, seed=9)


@dataclass
class Case:
    """A gallery, open for writing, and what it should hold."""

    path: Path
    gallery: Gallery
    content: dict[str, Vectors]

    def add(self, rows: range) -> None:
        ids = [f"n{r}" for r in rows]
        self.gallery.add(ids, NEW[rows], facts=[ItemFacts(label="new", uri=i) for i in ids])
        self.content |= dict(zip(ids, NEW[rows], strict=True))

    def remove(self, *ids: str) -> None:
        self.gallery.remove(ids)
        for item_id in ids:
            del self.content[item_id]

    def check(self, gallery: Gallery | None = None, metric: MetricName = "cosine") -> None:
        """Check a gallery, else the writer and a fresh reader."""
        for each in [gallery] if gallery else [self.gallery, Gallery.open(self.path)]:
            assert len(each) == len(self.content)
            for q, found in zip(
                vectors(4, seed=3), each.search(vectors(4, seed=3), 9), strict=True
            ):
                assert pairs(found) == expected(self.content, q, 9, metric)
