"""Cells of parquet files that are named first and read later."""

import os
import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from featx.data.sources import open_source
from featx.data.sources.cells import HELD_TEXTS, Cell
from featx.errors import ItemError
from featx.modality.content import read_bytes
from featx.scale.unit import References
from featx.types import Item

ROWS = 10_000


def texts(path: Path, column: Sequence[str | None], **more: Sequence[str]) -> Path:
    table = pa.table({"text": pa.array(column, pa.string()), **more})
    pq.write_table(table, path, row_group_size=3000)
    return path


def items(path: Path, *, names_contents: bool, modality: str = "text") -> list[Item]:
    return list(open_source(path, modality=modality, names_contents=names_contents))


def test_items_are_those_of_a_plain_listing_but_for_their_contents(tmp_path: Path) -> None:
    column = [f"text {row}" for row in range(ROWS)]
    labels = [f"c{row % 3}" for row in range(ROWS)]
    path = texts(tmp_path / "t.parquet", column, label=labels, id=[f"i{r}" for r in range(ROWS)])

    named, plain = (items(path, names_contents=each) for each in (True, False))

    assert [(i.id, i.label, i.uri) for i in named] == [(i.id, i.label, i.uri) for i in plain]
    assert [read_bytes(item.content).decode() for item in named] == column


@pytest.mark.parametrize("seed", range(3))
def test_cells_are_read_in_any_order(tmp_path: Path, seed: int) -> None:
    column = [f"text {row}" for row in range(ROWS)]
    named = items(texts(tmp_path / "t.parquet", column), names_contents=True)
    rng = np.random.default_rng(seed)
    near = np.clip(np.arange(ROWS) + rng.integers(-40, 40, ROWS), 0, ROWS - 1)
    far = rng.integers(0, ROWS, 20)

    for row in [*near.tolist(), *far.tolist(), ROWS - 1, 0, HELD_TEXTS + 1]:
        assert read_bytes(named[row].content) == column[row].encode()


def test_a_cell_without_a_text_is_an_error_of_its_item(tmp_path: Path) -> None:
    path = texts(tmp_path / "t.parquet", ["a", None, "c"])

    named, plain = (items(path, names_contents=each) for each in (True, False))

    with pytest.raises(ItemError) as caught:
        read_bytes(named[1].content)
    assert str(caught.value) == plain[1].problem == "row 2: 'text' is missing"
    assert read_bytes(named[2].content) == b"c"


def test_images_inside_a_table_are_named_and_paths_stay_paths(tmp_path: Path) -> None:
    held = pa.table(
        {"image": pa.array([{"bytes": b"1", "path": "a"}, {"bytes": b"2", "path": "b"}])}
    )
    pq.write_table(held, tmp_path / "held.parquet")
    pq.write_table(pa.table({"image": ["a.jpg"]}), tmp_path / "paths.parquet")

    named = items(tmp_path / "held.parquet", names_contents=True, modality="image")
    (path,) = items(tmp_path / "paths.parquet", names_contents=True, modality="image")

    assert [read_bytes(item.content) for item in named] == [b"1", b"2"]
    assert all(isinstance(item.content, Cell) for item in named)
    assert path.content == tmp_path / "a.jpg"


def test_a_cell_travels_without_its_content(tmp_path: Path) -> None:
    named = items(texts(tmp_path / "t.parquet", ["x" * 1000] * 100), names_contents=True)

    raw = pickle.dumps(named)

    assert len(raw) < 20_000
    assert read_bytes(pickle.loads(raw)[99].content) == b"x" * 1000


def test_a_file_that_has_changed_since_it_was_listed_is_not_read(tmp_path: Path) -> None:
    path = texts(tmp_path / "t.parquet", ["a", "b"])
    (first, _) = items(path, names_contents=True)
    before = References().of(first.content)
    texts(path, ["c", "d"])
    os.utime(path, (1, 1))

    with pytest.raises(ItemError, match=r"changed since it was listed: .*; run the command again"):
        read_bytes(first.content)
    assert References().of(items(path, names_contents=True)[0].content) != before
