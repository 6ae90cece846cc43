"""Any sequence of changes, folds, kills and reopenings leaves a gallery equal to a dictionary."""

import shutil
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from featx.errors import InputError
from featx.gallery.build import GalleryRecipe, build_gallery
from featx.gallery.gallery import Gallery, ItemFacts
from featx.types import Vectors
from gallery_sets import DIM, expected, pairs, vectors, write_set

ITEMS = 12
IDS = st.sampled_from([f"i{r}" for r in range(0, ITEMS, 2)] + [f"n{r}" for r in range(8)])
QUERIES = vectors(2, seed=5)


class GalleryMachine(RuleBasedStateMachine):
    """A gallery, its reader, and the dictionary that it should be."""

    kind = "exact"
    standalone = False

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.number = 0
        self.seed = 100
        X = vectors(ITEMS)
        embedding_set = write_set(self.folder / "a.emb", X)
        self.content = {f"i{r}": x for r, x in enumerate(X)}
        self.labels: dict[str, str | None] = {}
        recipe = GalleryRecipe(kind=self.kind, standalone=self.standalone, recall=1.0)
        build_gallery(embedding_set, self.path, recipe)
        self.writer = Gallery.open(self.path, writable=True)
        self.reader = Gallery.open(self.path)

    @property
    def path(self) -> Path:
        return self.folder / f"{self.number}.knn"

    def fresh(self, n: int) -> Vectors:
        self.seed += 1
        return np.random.default_rng(self.seed).standard_normal((n, DIM)).astype(np.float32)

    @initialize()
    def begin(self) -> None:
        self.compare(self.writer)

    @rule(ids=st.lists(IDS, unique=True, min_size=1, max_size=5))
    def put(self, ids: list[str]) -> None:
        X, labels = self.fresh(len(ids)), [f"label {self.seed % 3}" for _ in ids]
        facts = [ItemFacts(label=label) for label in labels]
        self.writer.add(ids, X, facts=facts, replace=True)
        self.content |= dict(zip(ids, X, strict=True))
        self.labels |= dict(zip(ids, labels, strict=True))

    @rule(ids=st.lists(IDS, unique=True, min_size=1, max_size=3))
    def add(self, ids: list[str]) -> None:
        X = self.fresh(len(ids))
        try:
            self.writer.add(ids, X)
        except InputError:
            assert self.content.keys() & set(ids)
        else:
            assert not self.content.keys() & set(ids)
            self.content |= dict(zip(ids, X, strict=True))
            self.labels |= dict.fromkeys(ids)

    @rule(ids=st.lists(IDS, unique=True, min_size=1, max_size=3))
    def remove(self, ids: list[str]) -> None:
        try:
            self.writer.remove(ids)
        except InputError:
            assert set(ids) - self.content.keys()
        else:
            for item_id in ids:
                del self.content[item_id]

    @precondition(lambda self: self.content)
    @rule()
    def remove_all(self) -> None:
        self.writer.remove(list(self.content))
        self.content.clear()

    @rule()
    def fold(self) -> None:
        self.writer.fold()

    @rule()
    def compact(self) -> None:
        self.writer.compact()

    @rule()
    def reopen(self) -> None:
        self.writer.close()
        self.writer = Gallery.open(self.path, writable=True)

    @rule()
    def kill(self) -> None:
        """Go on with a copy of the folder as it lies; what was in memory is lost."""
        before = self.path
        self.number += 1
        shutil.copytree(before, self.path)
        self.writer.close()
        self.reader.close()
        self.writer = Gallery.open(self.path, writable=True)
        self.reader = Gallery.open(self.path)

    @invariant()
    def agrees_with_a_dictionary(self) -> None:
        self.compare(self.writer)
        self.compare(self.reader)

    def compare(self, gallery: Gallery) -> None:
        assert len(gallery) == len(self.content)
        for q, found in zip(QUERIES, gallery.search(QUERIES, 6), strict=True):
            assert pairs(found) == expected(self.content, q, 6)
            for neighbour in found:
                if neighbour.id in self.labels:
                    assert neighbour.label == self.labels[neighbour.id]

    def teardown(self) -> None:
        self.writer.close()
        self.reader.close()
        shutil.rmtree(self.folder)


class ApproximateMachine(GalleryMachine):
    kind = "pq"
    standalone = True


COMMON = settings(
    max_examples=5,
    stateful_step_count=16,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestExact = GalleryMachine.TestCase
TestExact.settings = COMMON
TestApproximate = ApproximateMachine.TestCase
TestApproximate.settings = settings(COMMON, max_examples=4)
