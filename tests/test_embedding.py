"""From a source to a set, and again."""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featx.backbone.backbone import Backbone, identity
from featx.backbone.settings import Settings
from featx.data.sources import open_source
from featx.data.sources.arrays import Arrays
from featx.data.sources.options import Options
from featx.data.store import EmbeddingSet
from featx.embedding import Progress, Run, embed, embed_all
from featx.errors import InputError
from featx.types import Item, Vectors
from featx.zoo import catalog

DIM = 4
LEAST_COSINE = 1 - 1e-6
"""A text's vector may differ by this much between batches: padding changes float32 sums."""


@dataclass
class Table:
    """An ``.npz`` file that is written anew before each run."""

    path: Path
    backbone: Backbone
    out: Path
    cache: Path | None = None

    def run(self, X: Vectors, ids: Sequence[object], y: Sequence[object] | None = None) -> Progress:
        if y is None:
            np.savez(self.path, X=X, ids=np.array(ids, dtype=str))
        else:
            np.savez(self.path, X=X, ids=np.array(ids, dtype=str), y=np.array(y))
        source = Arrays(self.path, Options(modality="array"))
        *_, last = embed(source, self.backbone, self.out, cache=self.cache)
        return last

    @property
    def set(self) -> EmbeddingSet:
        return EmbeddingSet.open(self.out)

    @property
    def ids(self) -> list[str]:
        return [str(item) for item in self.set.items.column("id").to_pylist()]


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return Table(tmp_path / "t.npz", Backbone(identity(DIM)), tmp_path / "t.emb")


def numbers(count: int, seed: int = 0) -> Vectors:
    return np.random.default_rng(seed).standard_normal((count, DIM), dtype=np.float32)


def test_arrays_become_rows_as_they_are_in_source_order(table: Table) -> None:
    X = numbers(600)

    progress = table.run(X, range(600), y=[f"c{i % 3}" for i in range(600)])

    np.testing.assert_array_equal(table.set.X, X)
    assert table.ids == [str(i) for i in range(600)]
    assert table.set.y.tolist() == [f"c{i % 3}" for i in range(600)]
    assert progress == Progress(total=600, embedded=600)


def test_a_graph_maps_each_item(
    table: Table, linear_backbone: Callable[[Vectors], Backbone]
) -> None:
    W, X = numbers(DIM, seed=3)[:, :2], numbers(50)
    table.backbone = linear_backbone(np.ascontiguousarray(W))

    table.run(X, range(50))

    np.testing.assert_allclose(table.set.X, X @ W, rtol=1e-5, atol=1e-6)
    assert (table.set.dim, table.set.model) == (2, "linear")


def test_a_second_run_embeds_nothing_and_leaves_the_vectors_alone(table: Table) -> None:
    X = numbers(300)
    table.run(X, range(300))
    before = {p.name: p.stat().st_mtime_ns for p in table.out.glob("segment-*")}

    progress = table.run(X, range(300))

    assert progress == Progress(total=300, kept=300)
    assert {p.name: p.stat().st_mtime_ns for p in table.out.glob("segment-*")} == before


def test_a_set_follows_its_source(table: Table) -> None:
    X = numbers(5)
    table.run(X, ["a", "b", "c", "d", "e"], y=list("vwxyz"))
    new = numbers(5, seed=1)

    # b changed, c is gone, n came in the middle, and d has another label
    X2 = np.stack([X[0], new[0], new[1], X[3], X[4]])
    progress = table.run(X2, ["a", "b", "n", "d", "e"], y=list("vwqrz"))

    np.testing.assert_array_equal(np.asarray(table.set.X), X2)
    assert table.ids == ["a", "b", "n", "d", "e"]
    assert table.set.y.tolist() == list("vwqrz")
    assert (progress.embedded, progress.kept) == (2, 3)


def test_new_labels_encode_nothing(table: Table) -> None:
    X = numbers(4)
    table.run(X, range(4), y=list("aabb"))
    segments = table.set.segments

    progress = table.run(X, range(4), y=list("abab"))

    assert progress.embedded == 0
    assert table.set.y.tolist() == list("abab")
    assert table.set.segments == segments


def test_an_item_that_is_not_finite_is_listed_and_the_rest_embedded(table: Table) -> None:
    X = numbers(5)
    X[2, 1] = np.nan

    progress = table.run(X, list("abcde"))

    np.testing.assert_array_equal(table.set.X, X[[0, 1, 3, 4]])
    lines = (table.out / "errors.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["c"]
    assert "not finite" in json.loads(lines[0])["problem"]
    assert progress.done == 5


def test_a_vector_that_is_not_finite_is_an_error_of_its_item_alone(
    table: Table, linear_backbone: Callable[[Vectors], Backbone]
) -> None:
    table.backbone = linear_backbone(np.full((DIM, 1), 2, dtype=np.float32))
    X = numbers(3)
    X[1] = 3e38

    progress = table.run(X, list("abc"))

    assert table.ids == ["a", "c"]
    assert [item_id for item_id, _ in progress.first_errors] == ["b"]


def test_errors_of_an_earlier_run_are_forgotten(table: Table) -> None:
    X = numbers(2)
    table.run(np.where(np.arange(2)[:, None] == 1, np.nan, X).astype(np.float32), ["a", "b"])

    table.run(X, ["a", "b"])

    assert (table.out / "errors.jsonl").read_text() == ""
    assert table.ids == ["a", "b"]


@dataclass
class Doubled:
    """A source that lists its items twice."""

    inner: Arrays
    skipped: int = 0

    def __iter__(self) -> Iterator[Item]:
        yield from self.inner
        yield from self.inner

    def __len__(self) -> int:
        return 2 * len(self.inner)

    def describe(self) -> dict[str, Any]:
        return self.inner.describe()


def test_the_first_of_two_items_with_one_id_counts(table: Table) -> None:
    X = numbers(3)
    np.savez(table.path, X=X, ids=np.array(["a", "b", "c"]))
    source = Doubled(Arrays(table.path, Options(modality="array")))

    *_, first = embed(source, table.backbone, table.out)
    *_, second = embed(source, table.backbone, table.out)

    np.testing.assert_array_equal(table.set.X, X)
    assert table.ids == ["a", "b", "c"]
    assert [item_id for item_id, _ in first.first_errors] == ["a", "b", "c"]
    assert "occurs twice" in first.first_errors[0][1]
    assert (second.kept, second.first_errors) == (3, first.first_errors)


@dataclass
class Unlisted:
    """A source with a folder that cannot be listed."""

    inner: Arrays
    skipped: int = 0

    def __iter__(self) -> Iterator[Item]:
        yield from self.inner
        yield Item(id="cats/", content="", problem="cannot be listed: Permission denied")

    def __len__(self) -> int:
        return len(self.inner) + 1

    def describe(self) -> dict[str, Any]:
        return self.inner.describe()


def test_what_lies_in_a_folder_that_cannot_be_listed_is_not_gone(table: Table) -> None:
    X = numbers(3)
    table.run(X, ["cats/a", "cats/b", "dogs/c"])
    np.savez(table.path, X=X[2:], ids=np.array(["dogs/c"]))
    source = Unlisted(Arrays(table.path, Options(modality="array")))
    run = Run(source, table.backbone, table.out)

    *_, last = run.steps()

    assert (last.kept, last.errors) == (1, 1)
    assert table.ids == ["cats/a", "cats/b", "dogs/c"]
    assert any("cats/ cannot be listed" in note for note in run.notes)


def test_equal_items_repeat_their_row(table: Table) -> None:
    X = np.repeat(numbers(2), 3, axis=0)

    table.run(X, range(6))

    np.testing.assert_array_equal(table.set.X, X)


@pytest.fixture
def mapped(table: Table, linear_backbone: Callable[[Vectors], Backbone]) -> Table:
    """A table whose vectors are worth caching: the backbone has a graph."""
    table.backbone = linear_backbone(np.eye(DIM, dtype=np.float32))
    return table


def test_a_second_set_takes_everything_from_the_cache(mapped: Table, tmp_path: Path) -> None:
    X, table = numbers(300), mapped
    table.cache = tmp_path / "cache"
    table.run(X, range(300))
    table.out = tmp_path / "second.emb"

    progress = table.run(X, range(300))

    assert progress == Progress(total=300, cached=300)
    np.testing.assert_array_equal(table.set.X, X)


def test_deleting_the_cache_harms_nothing(mapped: Table, tmp_path: Path) -> None:
    X, table = numbers(10), mapped
    table.cache = tmp_path / "cache"
    table.run(X, range(10))
    shutil.rmtree(table.cache)

    progress = table.run(X, range(10))

    assert progress == Progress(total=10, kept=10)
    np.testing.assert_array_equal(table.set.X, X)


def test_deleting_the_cache_while_it_is_used_harms_nothing(mapped: Table, tmp_path: Path) -> None:
    X, table = numbers(3000), mapped
    np.savez(table.path, X=X)
    source = Arrays(table.path, Options(modality="array"))
    cache = tmp_path / "cache"

    for number, _ in enumerate(embed(source, table.backbone, table.out, cache=cache)):
        if number == 0:
            shutil.rmtree(cache)

    np.testing.assert_array_equal(table.set.X, X)


def test_files_of_a_folder_are_known_again_by_their_stat(mapped: Table, tmp_path: Path) -> None:
    X, table = numbers(20), mapped
    folder = tmp_path / "arrays"
    for row, x in enumerate(X):
        path = folder / f"c{row % 2}" / f"{row:02d}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, x)
    source = open_source([str(folder)], modality="array")

    first = embed_all(source, table.backbone, table.out, cache=tmp_path / "cache")
    second = embed_all(source, table.backbone, tmp_path / "2.emb", cache=tmp_path / "cache")

    order = [int(Path(str(i)).stem) for i in first.items.column("id").to_pylist()]
    assert sorted(order) == list(range(20))
    np.testing.assert_array_equal(first.X, X[order])
    np.testing.assert_array_equal(second.X, X[order])
    assert second.y.tolist() == [f"c{row % 2}" for row in order]


def test_a_source_without_one_good_item_loses_nothing(table: Table) -> None:
    X = numbers(3)
    table.run(X, list("abc"))

    with pytest.raises(InputError, match=r"nothing could be embedded; first problem: d: .*finite"):
        table.run(np.full((2, DIM), np.nan, dtype=np.float32), ["d", "e"])

    np.testing.assert_array_equal(table.set.X, X)
    assert table.ids == ["a", "b", "c"]


def test_a_run_that_stops_early_keeps_what_it_committed(table: Table) -> None:
    X = numbers(9000)
    np.savez(table.path, X=X)
    source = Arrays(table.path, Options(modality="array"))

    running = embed(source, table.backbone, table.out)
    first = next(running)
    running.close()  # type: ignore[attr-defined]

    assert not table.set.finished
    assert first.embedded <= len(table.set) < 9000
    np.testing.assert_array_equal(table.set.X, X[: len(table.set)])
    held = len(table.set)
    *_, last = embed(source, table.backbone, table.out)
    assert (last.kept, last.embedded) == (held, 9000 - held)
    np.testing.assert_array_equal(np.asarray(table.set.X), X)


def test_an_unusable_cache_is_a_note_and_no_more(mapped: Table, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    X = numbers(2)
    np.savez(mapped.path, X=X)
    source = Arrays(mapped.path, Options(modality="array"))
    run = Run(source, mapped.backbone, mapped.out, cache=tmp_path / "file")

    *_, last = run.steps()

    assert last.embedded == 2
    assert any("file" in note for note in run.notes)
    np.testing.assert_array_equal(mapped.set.X, X)


TEXTS = [
    "The parcel arrived on Tuesday.",
    "Rain is expected in the north, with strong winds along the coast towards the evening.",
    "no",
    "How do I reset my password?",
    "Die Katze schläft auf dem Sofa.",
    "An invoice that is " + "very " * 60 + "long",
    "🙂",
    "Train 14 leaves from platform 3 at noon; please have your ticket ready.",
] + [f"Sentence number {i} has {'some ' * i}words." for i in range(12)]


@pytest.fixture(scope="module")
def minilm() -> Backbone:
    return Backbone(catalog.find("minilm-l6"), Settings(device="cpu", threads=1))


def cosines(A: Vectors, B: Vectors) -> Vectors:
    A, B = A.astype(np.float64), B.astype(np.float64)
    products = np.sum(A * B, axis=1)
    found: Vectors = products / np.linalg.norm(A, axis=1) / np.linalg.norm(B, axis=1)
    return found


def test_encoding_in_another_order_gives_the_same_rows(minilm: Backbone) -> None:
    order = np.random.default_rng(1).permutation(len(TEXTS))

    found = minilm.encode([TEXTS[i] for i in order])

    assert cosines(found, minilm.encode(TEXTS)[order]).min() >= LEAST_COSINE


def test_a_text_does_not_depend_on_its_neighbours(minilm: Backbone) -> None:
    alone = np.concatenate([minilm.encode([text]) for text in TEXTS])

    assert cosines(alone, minilm.encode(TEXTS)).min() >= LEAST_COSINE


def test_rows_from_the_cache_keep_what_is_known_of_the_item(tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "long.txt").write_text("word " * 400, encoding="utf-8")
    os.utime(folder / "long.txt", (1, 1))
    backbone = Backbone(catalog.find("minilm-l6"))
    source = open_source([str(folder)], modality="text")
    tables = [
        embed_all(source, backbone, tmp_path / name, cache=tmp_path / "cache").items
        for name in ("first.emb", "second.emb")
    ]

    assert tables[0].to_pylist() == tables[1].to_pylist()
    assert tables[1].to_pylist()[0]["n_tokens"] == 402
    assert tables[1].to_pylist()[0]["truncated"]
    assert tables[1].to_pylist()[0]["preview"].startswith("word word")
