"""Places on a map, and which items a page shows."""

import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from featx.data.segment import RowView
from featx.data.store import EmbeddingSet
from featx.errors import InputError, MissingPackageError
from featx.report.mapfile import write_map
from featx.report.places import components, lay_out
from featx.report.shown import shown_rows
from featx.types import Vectors
from report_sets import text_rows, vectors, written


def oracle(X: Vectors) -> tuple[Vectors, float]:
    """Return two components by a singular value decomposition, and their share."""
    centred = X.astype(np.float64) - X.mean(axis=0, dtype=np.float64)
    left, values, axes = np.linalg.svd(centred, full_matrices=False)
    signs = np.sign(axes[np.arange(2), np.abs(axes[:2]).argmax(axis=1)])
    share = float(np.square(values[:2]).sum() / np.square(values).sum())
    return (left[:, :2] * values[:2] * signs).astype(np.float32), share


def test_components_are_those_of_the_singular_values() -> None:
    X = vectors(np.arange(9000) % 3)

    places, share = components(X, 2)

    expected, expected_share = oracle(X)
    np.testing.assert_allclose(places, expected, atol=1e-3)
    assert share == pytest.approx(expected_share)


def test_several_segments_are_laid_out_as_one() -> None:
    X = vectors(np.arange(50) % 2)

    found = lay_out(RowView([X[:20], X[20:]]))

    np.testing.assert_allclose(found.xy, lay_out(X).xy, atol=1e-5)
    assert found.method == "pca"
    assert found.share == pytest.approx(oracle(X)[1])


def test_rows_that_are_not_finite_have_no_place() -> None:
    X = vectors([0, 1] * 10)
    X[3, 2], X[7, 0] = np.nan, np.inf
    kept = np.setdiff1d(np.arange(20), [3, 7])

    found = lay_out(X)

    np.testing.assert_allclose(found.xy[kept], oracle(X[kept])[0], atol=1e-4)
    assert np.isnan(found.xy[[3, 7]]).all()


@pytest.mark.parametrize("X", [np.zeros((4, 3)), np.ones((1, 3)), np.arange(5.0)[:, None]])
def test_rows_of_one_place_or_one_column_are_laid_out_too(X: Vectors) -> None:
    found = lay_out(X.astype(np.float32))

    assert found.share == 1
    assert (found.xy[:, 1] == 0).all()
    np.testing.assert_allclose(found.xy[:, 0], X[:, 0] - X[:, 0].mean())


def test_vectors_none_of_which_is_finite_are_refused() -> None:
    with pytest.raises(InputError, match="none of 2 vectors is finite"):
        lay_out(np.full((2, 3), np.nan, np.float32))


def test_umap_of_few_rows_is_pca() -> None:
    X = vectors([0] * 15)

    found = lay_out(X, "umap")

    assert found.method == "pca"
    np.testing.assert_array_equal(found.xy, lay_out(X).xy)


def test_umap_that_is_absent_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)

    with pytest.raises(MissingPackageError, match=r"pip install 'featx\[umap\]'"):
        lay_out(vectors([0, 1] * 10), "umap")


@pytest.mark.slow
@pytest.mark.timeout(600)  # numba compiles first
@pytest.mark.filterwarnings("ignore")  # of the packages that umap-learn stands on
def test_umap_keeps_groups_together_and_gives_the_same_places_again() -> None:
    pytest.importorskip("umap")
    codes = np.arange(120) % 3
    X = vectors(codes, apart=30.0)

    first, second = lay_out(X, "umap", seed=3), lay_out(X, "umap", seed=3)

    assert first.method == "umap"
    np.testing.assert_array_equal(first.xy, second.xy)
    near = np.square(first.xy[:, None] - first.xy[None]).sum(axis=2)
    np.fill_diagonal(near, np.inf)
    assert (codes[near.argmin(axis=1)] == codes).all()


def test_a_map_is_a_table_of_what_the_set_says_and_places(tmp_path: Path) -> None:
    labels = ["ham", None, "spam"]
    X = vectors([0, 1, 2])
    X[1, 0] = np.nan
    held = written(tmp_path / "t.emb", text_rows(labels, ["train", None, "test"]), X, "text")

    places = write_map(held, tmp_path / "map.parquet")

    table = pq.read_table(tmp_path / "map.parquet")
    found = table.to_pydict()
    assert list(found) == ["id", "uri", "label", "split", "text", "x", "y"]
    assert found["id"] == ["t0", "t1", "t2"]
    assert found["label"] == labels
    assert found["split"] == ["train", None, "test"]
    assert found["text"] == ["text 0 of ham", "text 1 of None", "text 2 of spam"]
    assert found["x"] == [float(places.xy[0, 0]), None, float(places.xy[2, 0])]
    assert str(table.schema.field("y").type) == "float"


def test_only_texts_have_a_text(tmp_path: Path) -> None:
    held = written(tmp_path / "i.emb", text_rows(["a", "b"]), vectors([0, 1]), "image")

    write_map(EmbeddingSet.open(held.path), tmp_path / "map.parquet")

    assert pq.read_table(tmp_path / "map.parquet").column("text").to_pylist() == [None, None]


def test_all_of_few_items_are_shown_and_of_many_those_that_matter_first() -> None:
    strata = np.arange(1000) % 4

    few = shown_rows(strata[:6], [5, 2, 5], most=6)
    many = shown_rows(strata, range(500, 900), most=100)

    assert few.tolist() == [5, 2, 0, 1, 3, 4]
    assert many[:50].tolist() == list(range(500, 550))
    assert len(many) == len(set(many.tolist())) == 100
    assert sorted(np.bincount(strata[many[50:]], minlength=4).tolist()) == [12, 12, 13, 13]
