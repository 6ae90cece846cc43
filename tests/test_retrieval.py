"""Measures of retrieval, and of galleries, are those of plain NumPy loops."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from command_line import call, done
from featx.data.rows import Row
from featx.data.store import EmbeddingSet
from featx.data.writer import SetWriter
from featx.errors import InputError, SpaceError
from featx.evaluate.galleryscore import score_gallery, score_queries
from featx.evaluate.interval import wilson_interval
from featx.evaluate.retrieval import mean_average_precision, recall_at_k
from featx.gallery.build import GalleryRecipe, build_gallery
from featx.gallery.gallery import Gallery, ItemFacts
from featx.index.metric import MetricName, unit_rows
from featx.types import Rows, Vectors

MODEL = {"name": "identity", "fingerprint": "f1", "space": "s1", "modality": "array", "dim": 8}


def average_precision(matches: Sequence[bool], present: int) -> float:
    hits, total = 0, 0.0
    for rank, is_match in enumerate(matches, 1):
        hits += is_match
        total += hits / rank if is_match else 0
    return total / min(present, len(matches)) if present else 0.0


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 2**31), k=st.integers(1, 7), is_held_out=st.booleans())
def test_measures_are_those_of_a_loop(seed: int, k: int, is_held_out: bool) -> None:
    rng = np.random.default_rng(seed)
    gallery, queries = rng.integers(0, 4, 12), rng.integers(0, 5, 9)
    if is_held_out:
        queries = gallery[:9]
    rows = np.array([rng.permutation(12)[:7] for _ in queries])

    matches = gallery[rows[:, :k]] == queries[:, None]
    present = [int((gallery == label).sum()) - is_held_out for label in queries]
    expected = [average_precision(m, n) for m, n in zip(matches.tolist(), present, strict=True)]
    found = mean_average_precision(rows, gallery, queries, k=k, is_held_out=is_held_out)
    assert recall_at_k(rows, gallery, queries, k=k) == np.mean([any(m) for m in matches])
    if not is_held_out:  # a permutation may hold the row itself
        assert found == pytest.approx(np.mean(expected))


def test_over_all_items_average_precision_is_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    labels = np.array(["a", "b", "c"])[np.arange(30) % 3]
    rows = np.array([rng.permutation(30) for _ in range(5)])
    queries = np.array(["a", "b", "c", "a", "b"])

    found = mean_average_precision(rows, labels, queries, k=30)

    expected = [
        average_precision_score(labels[order] == query, -np.arange(30))
        for order, query in zip(rows, queries, strict=True)
    ]
    assert found == pytest.approx(np.mean(expected))


def test_a_perfect_search_has_a_precision_of_one_whatever_the_depth() -> None:
    labels = np.repeat([0, 1], [3, 9])
    rows = np.array([[1, 2, 5, 6, 7], [4, 5, 6, 7, 8]])

    found = mean_average_precision(rows, labels, np.array([0, 1]), k=5, is_held_out=True)

    assert found == 1.0


@pytest.mark.parametrize("k", [0, 4])
def test_more_neighbours_than_were_found_are_refused(k: int) -> None:
    with pytest.raises(InputError, match=f"k: found {k}; must be 1 to 3, the neighbours given"):
        recall_at_k(np.zeros((2, 3), np.int64), np.zeros(5), np.zeros(2), k=k)


def test_no_queries_are_refused() -> None:
    with pytest.raises(InputError, match="queries: found none"):
        recall_at_k(np.empty((0, 3), np.int64), np.zeros(5), np.empty(0), k=2)


def rows_of(n: int, seed: int = 0) -> tuple[Vectors, list[str]]:
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 3, n)
    centres = np.random.default_rng(7).normal(size=(3, 8))
    X = centres[codes] + 0.9 * rng.normal(size=(n, 8))
    return X.astype(np.float32), [("ape", "bee", "cat")[code] for code in codes]


def write_set(
    path: Path,
    X: Vectors,
    labels: Sequence[str | None],
    *,
    splits: Sequence[str | None] = (),
    ids: Sequence[str] = (),
    **model: Any,  # noqa: ANN401 - values of MODEL
) -> EmbeddingSet:
    names = ids or [f"{path.stem}{row}" for row in range(len(X))]
    given = splits or [None] * len(X)
    rows = [
        Row(id=name, digest="", label=label, split=split)
        for name, label, split in zip(names, labels, given, strict=True)
    ]
    with SetWriter(path, model=MODEL | model) as writer:
        writer.append(rows, X)
        writer.seal()
    return EmbeddingSet.open(path)


def write_gallery(folder: Path, n: int = 90, **recipe: Any) -> Gallery:  # noqa: ANN401 - GalleryRecipe
    X, labels = rows_of(n)
    made = write_set(folder / "a.emb", X, labels)
    return build_gallery(made, folder / "a.knn", GalleryRecipe(**recipe))


def similarities(Q: Vectors, X: Vectors, metric: MetricName) -> NDArray[np.float64]:
    left, right = Q.astype(np.float64), X.astype(np.float64)
    if metric == "l2":
        distances: NDArray[np.float64] = np.linalg.norm(left[:, None] - right, axis=2)
        return -distances
    if metric == "cosine":
        left, right = unit_rows(left), unit_rows(right)
    products: NDArray[np.float64] = left @ right.T
    return products


def oracle(
    near: NDArray[np.float64], labels: Rows, truth: Rows, k: int, T: float
) -> dict[str, float]:
    order = np.argsort(-near, axis=1, kind="stable")
    weights = np.exp((np.take_along_axis(near, order[:, :k], axis=1) - near.max()) / T)
    votes = [
        [w[labels[o[:k]] == c].sum() for c in range(3)] for w, o in zip(weights, order, strict=True)
    ]
    matches = labels[order] == truth[:, None]
    present = [int(m.sum()) for m in matches]
    return {
        "accuracy": float((np.argmax(votes, axis=1) == truth).mean()),
        **{str(r): float(matches[:, :r].any(axis=1).mean()) for r in (1, 5, 10)},
        "map": float(
            np.mean(
                [
                    average_precision(m, n)
                    for m, n in zip(matches[:, :10].tolist(), present, strict=True)
                ]
            )
        ),
    }


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_a_gallery_is_scored_by_leaving_each_item_out(tmp_path: Path, metric: MetricName) -> None:
    gallery = write_gallery(tmp_path, metric=metric)
    X, labels = rows_of(90)
    codes = np.unique(labels, return_inverse=True)[1]

    found = score_gallery(gallery)

    near = similarities(X, X, metric)
    np.fill_diagonal(near, -np.inf)
    expected = [
        oracle(
            np.delete(near[i : i + 1], i, axis=1),
            np.delete(codes, i),
            codes[i : i + 1],
            gallery.k,
            gallery.temperature,
        )
        for i in range(90)
    ]
    assert found["accuracy"] == pytest.approx(np.mean([each["accuracy"] for each in expected]))
    for rank in ("1", "5", "10"):
        assert found["recall_at"][rank] == pytest.approx(np.mean([each[rank] for each in expected]))
    assert found["map"] == pytest.approx(np.mean([each["map"] for each in expected]))
    hits = round(found["accuracy"] * 90)
    assert found["interval"] == list(wilson_interval(hits, 90))
    assert found["baselines"] == {"majority": np.bincount(codes).max() / 90}
    assert (found["n"], found["classes"], found["excluded"]) == (90, 3, 0)
    assert (found["k"], found["temperature"]) == (gallery.k, gallery.temperature)
    assert found["accuracy"] == gallery.facts["metrics"]["accuracy"]


def test_of_a_large_gallery_some_items_are_drawn(tmp_path: Path) -> None:
    found = score_gallery(write_gallery(tmp_path), most=40)

    assert found["n"] == 40
    assert found["notes"] == ["40 of 90 labelled items were drawn"]


def test_items_that_came_and_went_count_as_they_are_now(tmp_path: Path) -> None:
    write_gallery(tmp_path).close()
    more, names = rows_of(20, seed=3)
    with Gallery.open(tmp_path / "a.knn", writable=True) as gallery:
        gallery.remove([f"a{row}" for row in range(30)])
        facts = [ItemFacts(label=None if at < 5 else name) for at, name in enumerate(names)]
        gallery.add([f"new{row}" for row in range(20)], more, facts=facts)

        found = score_gallery(gallery)

        k, T = gallery.k, gallery.temperature
    X, labels = rows_of(90)
    left = np.concatenate([X[30:], more[5:]])
    codes = np.unique(labels[30:] + names[5:], return_inverse=True)[1]
    near = similarities(left, left, "cosine")
    expected = [
        oracle(np.delete(near[i : i + 1], i, axis=1), np.delete(codes, i), codes[i : i + 1], k, T)
        for i in range(75)
    ]
    assert found["n"] == 75
    assert found["accuracy"] == pytest.approx(np.mean([each["accuracy"] for each in expected]))
    assert found["map"] == pytest.approx(np.mean([each["map"] for each in expected]))


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_a_set_is_scored_without_what_the_gallery_holds(tmp_path: Path, metric: MetricName) -> None:
    gallery = write_gallery(tmp_path, metric=metric)
    X, labels = rows_of(90)
    new, names = rows_of(40, seed=5)
    names[:4] = ["dog"] * 4
    ids = [*(f"t{row}" for row in range(40)), *(f"old{row}" for row in range(10)), "a20", "a21"]
    # The last two bear an id of the gallery: one is its item through another precision, the other
    # is another item whose source numbers alike.
    vectors = np.concatenate([new, X[:10], X[20:21] * 1.001 + 0.003, -X[21:22]])
    test = write_set(tmp_path / "t.emb", vectors, [*names, *labels[:10], "ape", "ape"], ids=ids)

    found = score_queries(gallery, test)

    assert (found["n"], found["excluded"], found["unknown_labels"]) == (41, 11, ["dog"])
    truth = np.array([("ape", "bee", "cat", "dog").index(name) for name in [*names, "ape"]])
    codes = np.unique(labels, return_inverse=True)[1]
    scored = np.concatenate([new, -X[21:22]])
    expected = oracle(similarities(scored, X, metric), codes, truth, gallery.k, gallery.temperature)
    assert found["accuracy"] == expected["accuracy"]
    assert found["recall_at"] == {rank: expected[rank] for rank in ("1", "5", "10")}
    assert found["map"] == pytest.approx(expected["map"])
    assert found["notes"] == ["the gallery knows no dog"]


def test_a_short_vector_that_is_not_its_own_nearest_by_inner_product_is_held(
    tmp_path: Path,
) -> None:
    X, labels = rows_of(90)
    X[:10] *= 0.01
    made = write_set(tmp_path / "a.emb", X, labels)
    gallery = build_gallery(made, tmp_path / "a.knn", GalleryRecipe(metric="dot"))
    new, names = rows_of(5, seed=5)
    ids = [f"t{row}" for row in range(15)]
    vectors = np.concatenate([new, X[:10]])
    test = write_set(tmp_path / "t.emb", vectors, [*names, *labels[:10]], ids=ids)

    found = score_queries(gallery, test)

    assert (found["n"], found["excluded"]) == (5, 10)


def test_the_test_split_is_scored_unless_another_is_asked_for(tmp_path: Path) -> None:
    gallery = write_gallery(tmp_path)
    X, labels = rows_of(30, seed=5)
    splits = ["train"] * 10 + ["val"] * 8 + ["test"] * 12
    made = write_set(tmp_path / "t.emb", X, labels, splits=splits)

    found, val = score_queries(gallery, made), score_queries(gallery, made, "val")

    assert (found["split"], found["n"], val["split"], val["n"]) == ("test", 12, "val", 8)


def test_fewer_items_than_the_deepest_rank_are_all_looked_at(tmp_path: Path) -> None:
    found = score_gallery(write_gallery(tmp_path, n=6))

    assert found["recall_at"]["5"] == found["recall_at"]["10"]


def test_sets_in_other_spaces_are_refused_and_other_fingerprints_noted(tmp_path: Path) -> None:
    gallery = write_gallery(tmp_path)
    X, labels = rows_of(30, seed=5)
    other = write_set(tmp_path / "o.emb", X, labels, space="s2")
    near = write_set(tmp_path / "n.emb", X, labels, fingerprint="f2")

    with pytest.raises(SpaceError, match=r"run: featx embed SOURCE -m identity -o OUT\.emb"):
        score_queries(gallery, other)
    assert score_queries(gallery, near)["notes"] == [
        "same space, other fingerprint: similarities may be off a little"
    ]


def test_the_command_scores_a_gallery_for_programs_and_for_people(tmp_path: Path) -> None:
    gallery = write_gallery(tmp_path)
    X, labels = rows_of(30, seed=5)
    test = write_set(tmp_path / "t.emb", X, labels, splits=["test"] * 30)

    own, of_set = (
        done("evaluate", gallery.path, "--json"),
        done("evaluate", gallery.path, test.path, "--json"),
    )
    shown = done("evaluate", gallery.path, test.path)

    assert json.loads(own) == score_gallery(gallery)
    found = score_queries(gallery, test)
    assert json.loads(of_set) == found
    lines = shown.splitlines()
    low, high = found["interval"]
    assert lines[0] == "30 rows of split test"
    assert lines[1].split(maxsplit=1) == [
        "accuracy", f"{found['accuracy']:.3f}  [{low:.3f}, {high:.3f}]  n=30",
    ]  # fmt: skip
    assert [line.split()[0] for line in lines[2:]] == [
        "majority", "recall@1", "recall@5", "recall@10", "mAP@10",
    ]  # fmt: skip


def test_what_cannot_be_scored_is_one_clear_line(tmp_path: Path) -> None:
    X, labels = rows_of(30)
    bare = write_set(tmp_path / "b.emb", X, [None] * 30)
    unlabelled = build_gallery(bare, tmp_path / "b.knn").path
    made = write_set(tmp_path / "a.emb", X, labels)
    gallery = build_gallery(made, tmp_path / "a.knn").path
    far = write_set(tmp_path / "far.emb", X, labels, space="s2")

    for arguments, code, message in (
        ([tmp_path / "x.head"], 2, "Missing argument 'SET'"),
        ([gallery, "--split", "test"], 2, "--split needs a SET"),
        ([tmp_path / "no.knn"], 1, "no.knn: no such gallery"),
        ([gallery, tmp_path / "no.emb"], 1, "no.emb: not an embedding set"),
        ([unlabelled], 1, "b.knn: found 0 labelled items; leaving one out needs two"),
        ([unlabelled, made.path], 1, "b.knn: no item is labelled"),
        ([gallery, bare.path], 1, "embedding set: no labels; run: featx label"),
        ([gallery, made.path], 1, "the gallery holds all 30 labelled rows already"),
        ([gallery, made.path, "--split", "val"], 1, "no labelled row in split 'val'"),
        ([gallery, far.path], 1, "far.emb: embeddings of identity (space s2), but"),
    ):
        result = call("evaluate", *arguments)
        assert result.exit_code == code
        assert message in result.stderr.splitlines()[-1]
        assert result.stdout == ""
