"""All items of a gallery in PostgreSQL, read while others change it; and what compactions leave."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from featx.errors import InputError
from featx.evaluate.curation.galleryset import GallerySet
from featx.export import VECTORS
from featx.export.vectors.choices import Choices
from featx.export.vectors.table import of_gallery
from featx.gallery.build import GalleryRecipe
from featx.gallery.gallery import Gallery, ItemFacts
from featx.registry import resolve
from gallery_sets import NEW, label_of, vectors
from postgres import Postgres, keeper_in
from readers import Read, by_faiss, by_numpy, by_pyarrow

pytestmark = pytest.mark.pg

MANY = 400_000
ROW_BYTES = 50
"""Of memory for the number of each row: 8 that stay, some copies, and a page of tuples."""


def built(postgres: Postgres, folder: Path, databases: int = 1, kind: str = "exact") -> Path:
    return keeper_in(postgres, databases).build(folder, GalleryRecipe(kind=kind)).path


def compacted_without(path: Path, *ids: str) -> None:
    """Remove items and compact, as another process would."""
    with Gallery.open(path, writable=True) as gallery:
        gallery.remove(ids)
        gallery.compact()


@pytest.mark.parametrize("databases", [1, 2])
def test_blocks_beside_a_compaction_have_all_that_stayed(
    databases: int, postgres: Postgres, tmp_path: Path
) -> None:
    path = built(postgres, tmp_path, databases)
    unit = vectors() / np.linalg.norm(vectors(), axis=1, keepdims=True)
    with Gallery.open(path) as gallery:
        blocks = gallery.snapshot.blocks(20)
        found = [next(blocks)]
        compacted_without(path, "i1", "i40", "i59")
        found += blocks

    rows = np.concatenate([block.rows for block in found])
    assert rows.tolist() == [row for row in range(60) if row not in {40, 59}]
    assert [item_id for block in found for item_id, _ in block.items] == [f"i{row}" for row in rows]
    labels = [facts.label for block in found for _, facts in block.items]
    assert labels == [label_of(row) for row in rows.tolist()]
    np.testing.assert_allclose(np.concatenate([b.X for b in found]), unit[rows], atol=1e-7)


@pytest.mark.parametrize(
    ("form", "read"), [("parquet", by_pyarrow), ("npy", by_numpy), ("faiss", by_faiss)]
)
def test_an_export_beside_a_compaction_is_whole(
    form: str, read: Callable[[Path], Read], postgres: Postgres, tmp_path: Path
) -> None:
    path = built(postgres, tmp_path)
    with Gallery.open(path) as gallery:
        table = of_gallery(gallery.snapshot)
        compacted_without(path, *(f"i{row}" for row in range(1, 60, 2)))

        resolve("format", VECTORS, form)(tmp_path / form, table, Choices(file_rows=20))

    ids, labels, X = read(tmp_path / form)
    assert list(ids) == [f"i{row}" for row in range(0, 60, 2)]
    assert list(labels) == [label_of(row) for row in range(0, 60, 2)]
    unit = vectors()[::2] / np.linalg.norm(vectors()[::2], axis=1, keepdims=True)
    np.testing.assert_allclose(X, unit, atol=1e-7)


def test_an_inspection_reads_what_others_inserted_in_sql_too(
    postgres: Postgres, tmp_path: Path
) -> None:
    path = built(postgres, tmp_path)
    with Gallery.open(path) as gallery:
        items = f"featx_{gallery.facts['id']}_items"
        postgres.run(
            f"INSERT INTO {items} SELECT row + 100, 'x' || row, uri, label, split, preview, "
            f"thumbnail, vec, added, removed FROM {items} WHERE row < 5"
        )

        found = GallerySet.of(gallery.snapshot)

    assert found.items.column("id").to_pylist()[-6:] == ["i59", "x0", "x1", "x2", "x3", "x4"]
    np.testing.assert_array_equal(found.X[60:], found.X[:5])


def test_numbers_of_all_rows_come_some_at_a_time(postgres: Postgres, tmp_path: Path) -> None:
    with Gallery.open(built(postgres, tmp_path)) as gallery:
        items = f"featx_{gallery.facts['id']}_items"
        postgres.run(
            f"INSERT INTO {items} SELECT 60 + n, 'x' || n, uri, label, split, preview, thumbnail, "
            f"vec, added, removed FROM {items}, generate_series(0, {MANY - 61}) AS n WHERE row = 0"
        )
        held = gallery.snapshot
        tracemalloc.start()

        rows = held.rows

        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    np.testing.assert_array_equal(rows, np.arange(MANY))
    assert peak < ROW_BYTES * MANY


def test_a_compaction_deletes_what_one_that_was_ended_has_left(
    postgres: Postgres, tmp_path: Path
) -> None:
    path = built(postgres, tmp_path, kind="hnsw")
    with Gallery.open(path) as gallery:
        name = f"featx_{gallery.facts['id']}"
    for ending in ("ccnew", "ccnew1", "ccold"):
        index = f"{name}_hnsw_{ending}"
        postgres.run(f"CREATE INDEX {index} ON {name}_items (row)")
        postgres.run(
            f"UPDATE pg_index SET indisvalid = false WHERE indexrelid = '{index}'::regclass"
        )
    postgres.run(f"CREATE INDEX {name}_hnsw_ccown ON {name}_items (preview)")

    compacted_without(path, "i1")

    left = postgres.run(
        f"SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = '{name}_items'::regclass"
        " AND indexrelid::regclass::text LIKE '%hnsw%' ORDER BY 1"
    )
    assert [index for (index,) in left] == [f"{name}_hnsw", f"{name}_hnsw_ccown"]


def test_a_place_that_cannot_be_stored_as_it_is_is_refused(
    postgres: Postgres, tmp_path: Path
) -> None:
    with Gallery.open(built(postgres, tmp_path), writable=True) as gallery:
        with pytest.raises(InputError, match=r"'a': holds a zero byte, which PostgreSQL cannot"):
            gallery.add(["a"], NEW[:1], facts=[ItemFacts(uri="/x\0/y")])

        assert "a" not in gallery
