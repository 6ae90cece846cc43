"""Facts of items in mapped files, and the log of changes."""

import sqlite3
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from featx.errors import StoreError
from featx.gallery.changelog import Change, ChangeLog
from featx.gallery.items import (
    BATCH_ROWS,
    ItemFacts,
    ItemTable,
    blanked,
    names_of,
    only,
    to_batch,
    to_column,
    write_items,
)

COUNT = 2 * BATCH_ROWS + 17
IDS = [f"item {(7919 * r) % COUNT}" for r in range(COUNT)]
FACTS = [
    ItemFacts(
        label=None if r % 3 == 0 else f"label {r % 7}",
        split="test" if r % 5 == 0 else None,
        uri=f"/x/{r}",
        preview="é" * (r % 4),
        thumbnail=None if r % 2 else b"JPEG%d" % r,
    )
    for r in range(COUNT)
]


def write(folder: Path, ids: list[str], facts: list[ItemFacts], step: int = 1000) -> ItemTable:
    batches = [to_batch(ids[i : i + step], facts[i : i + step]) for i in range(0, len(ids), step)]
    rows = write_items(folder / "i.arrow", folder / "o.npy", batches, names_of(batches))
    return ItemTable.open(folder / "i.arrow", folder / "o.npy", rows)


def content(table: ItemTable) -> list[tuple[str, ItemFacts, bytes | None]]:
    return [(table.id(r), table.facts(r), table.thumbnail(r)) for r in range(len(table))]


def given(rows: range | list[int]) -> list[tuple[str, ItemFacts, bytes | None]]:
    kept = [FACTS[r] for r in rows]
    bare = [ItemFacts(label=f.label, split=f.split, uri=f.uri, preview=f.preview) for f in kept]
    return [
        (IDS[r], without, full.thumbnail) for r, without, full in zip(rows, bare, kept, strict=True)
    ]


@pytest.mark.parametrize("step", [1000, BATCH_ROWS, 10_000])
def test_items_come_back_as_they_were_given(tmp_path: Path, step: int) -> None:
    table = write(tmp_path, IDS, FACTS, step)

    assert content(table) == given(range(COUNT))
    names, codes = table.names("label"), table.codes("label")
    assert [None if c < 0 else names[c] for c in codes.tolist()] == [f.label for f in FACTS]


def test_an_id_is_found_and_one_that_is_not_there_is_not(tmp_path: Path) -> None:
    table = write(tmp_path, IDS, FACTS)

    for row in range(0, COUNT, 37):
        assert table.rows_of(IDS[row]) == [row]
    assert [table.rows_of(name) for name in ("", "item", "item 00", "z")] == [[], [], [], []]


def test_ids_that_repeat_are_found_in_all_their_rows(tmp_path: Path) -> None:
    ids = ["b", "a", "b", "é", "a", "b"]
    table = write(tmp_path, ids, [ItemFacts()] * 6)

    assert [table.rows_of(item_id) for item_id in "abé"] == [[1, 4], [0, 2, 5], [3]]
    assert table.repeated().tolist() == [0, 1, 2]


def test_of_ids_with_the_same_hash_each_is_found_by_itself(tmp_path: Path) -> None:
    ids = ["b", "a", "b", "c"]
    write(tmp_path, ids, [ItemFacts()] * 4)
    hashes, rows = np.load(tmp_path / "o.npy")
    first = int(hashes[list(rows).index(1)])
    np.save(tmp_path / "o.npy", np.array([[first] * 4, range(4)], np.uint64))
    table = ItemTable.open(tmp_path / "i.arrow", tmp_path / "o.npy", 4)

    assert table.rows_of("a") == [1]
    assert table.repeated().tolist() == [0]


def test_an_order_of_another_shape_is_refused(tmp_path: Path) -> None:
    write(tmp_path, IDS, FACTS)
    np.save(tmp_path / "o.npy", np.arange(COUNT))

    with pytest.raises(
        StoreError, match=r"o\.npy is damaged: shape \(8209,\) instead of \(2, 8209"
    ):
        ItemTable.open(tmp_path / "i.arrow", tmp_path / "o.npy", COUNT)


@pytest.mark.parametrize("kind", [pa.string(), pa.large_binary()])
@pytest.mark.parametrize("values", [[], [None], ["é", None, "", "abc"] * 5])
def test_columns_are_those_that_arrow_makes(kind: pa.DataType, values: list[str | None]) -> None:
    pieces = [v.encode() if v is not None and kind != pa.string() else v for v in values]

    column = to_column(pieces, kind)

    column.validate(full=True)
    assert column.equals(pa.array(pieces, kind))


def test_rows_can_be_dropped_or_emptied_on_the_way(tmp_path: Path) -> None:
    table = write(tmp_path, IDS, FACTS)
    alive = np.random.default_rng(0).random(COUNT) < 0.5
    batches = list(only(table.batches, alive)())
    write_items(tmp_path / "i2.arrow", tmp_path / "o2.npy", batches, names_of(batches))
    kept = ItemTable.open(tmp_path / "i2.arrow", tmp_path / "o2.npy", int(alive.sum()))
    batches = list(blanked(table.batches, alive)())
    write_items(tmp_path / "i3.arrow", tmp_path / "o3.npy", batches, names_of(batches))
    empty = ItemTable.open(tmp_path / "i3.arrow", tmp_path / "o3.npy", COUNT)

    rows = np.flatnonzero(alive).tolist()
    assert content(kept) == given(rows)
    expected = given(range(COUNT))
    for row in np.flatnonzero(~alive):
        expected[row] = ("", ItemFacts(), None)
    assert content(empty) == expected


def test_no_items_are_a_table_too(tmp_path: Path) -> None:
    table = write(tmp_path, [], [])

    assert (len(table), table.rows_of("a"), table.names("label")) == (0, [], [])
    assert table.codes("split").tolist() == []


def test_a_table_of_another_length_is_refused(tmp_path: Path) -> None:
    write(tmp_path, IDS, FACTS)

    with pytest.raises(StoreError, match=rf"i\.arrow is damaged: {COUNT} rows instead of 5"):
        ItemTable.open(tmp_path / "i.arrow", tmp_path / "o.npy", 5)


CHANGES = [
    Change("add", "a", np.array([1, 2], np.float32), FACTS[1]),
    Change("replace", "b", np.array([3, 4], np.float32), FACTS[2]),
    Change("remove", "c"),
]


def as_text(changes: list[Change]) -> list[str]:
    return [repr(change) for change in changes]


def test_changes_come_back_as_they_were_given(tmp_path: Path) -> None:
    log = ChangeLog.writing(tmp_path / "log.sqlite", make=True)
    log.append(1, CHANGES)
    log.append(4, CHANGES[:1])
    reader = ChangeLog.reading(tmp_path / "log.sqlite")

    assert as_text(reader.read(0)[1]) == as_text([*CHANGES, CHANGES[0]])
    assert as_text(reader.read(2)[1]) == as_text([CHANGES[2], CHANGES[0]])
    assert (reader.last(), reader.count(1), reader.generation()) == (4, 3, 0)
    log.close()
    reader.close()


def test_a_trimmed_log_holds_what_came_later(tmp_path: Path) -> None:
    log = ChangeLog.writing(tmp_path / "log.sqlite", make=True)
    log.append(1, CHANGES)
    reader = ChangeLog.reading(tmp_path / "log.sqlite")
    before = reader.version()

    log.trim(2, 7)

    assert reader.version() != before
    assert (reader.read(0)[0], as_text(reader.read(0)[1])) == (7, as_text([CHANGES[2]]))
    log.close()
    reader.close()


def test_changes_that_cannot_be_written_are_not_there_at_all(tmp_path: Path) -> None:
    log = ChangeLog.writing(tmp_path / "log.sqlite", make=True)
    log.append(2, CHANGES[:1])

    with pytest.raises(StoreError, match="UNIQUE constraint failed"):
        log.append(1, CHANGES)

    assert as_text(log.read(0)[1]) == as_text(CHANGES[:1])
    log.close()


def test_a_log_that_another_program_holds_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("featx.gallery.changelog.BUSY_S", 0.01)
    log = ChangeLog.writing(tmp_path / "log.sqlite", make=True)
    other = sqlite3.connect(tmp_path / "log.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    for changes in (CHANGES, CHANGES[:1]):
        with pytest.raises(StoreError, match="database is locked; another program holds it"):
            log.append(1, changes)
    other.execute("ROLLBACK")
    log.append(1, CHANGES)

    assert log.last() == 3
    log.close()
    other.close()


def test_a_log_of_another_layout_is_refused(tmp_path: Path) -> None:
    ChangeLog.writing(tmp_path / "log.sqlite", make=True).close()
    database = sqlite3.connect(tmp_path / "log.sqlite")
    database.execute("PRAGMA user_version=3")
    database.close()

    for open_log in (ChangeLog.writing, ChangeLog.reading):
        with pytest.raises(StoreError, match=r"log\.sqlite: layout 3 instead of 2"):
            open_log(tmp_path / "log.sqlite")
