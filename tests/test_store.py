"""Embedding sets on disk."""

import errno
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featx.data.labels import Labels, apply_labels
from featx.data.rows import Row
from featx.data.segment import RowView
from featx.data.store import EmbeddingSet
from featx.data.writer import Facts, Held, SetWriter
from featx.errors import InputError, SpaceError, StoreError
from featx.types import Vectors

DIM = 3


def model(fingerprint: str = "f" * 64) -> dict[str, Any]:
    return {
        "name": "identity",
        "modality": "array",
        "dim": DIM,
        "normalize": False,
        "fingerprint": fingerprint,
        "space": "s" * 64,
    }


def vectors(count: int, seed: int = 0) -> Vectors:
    return np.random.default_rng(seed).standard_normal((count, DIM), dtype=np.float32)


def rows(ids: Sequence[int]) -> list[Row]:
    return [Row(id=f"i{i}", digest=f"{i:064x}", label=f"c{i % 2}", preview=f"p{i}") for i in ids]


def facts(ids: Sequence[int]) -> list[Facts]:
    return [Facts(id=f"i{i}", label=f"c{i % 2}") for i in ids]


def finish(writer: SetWriter, told: Sequence[Facts]) -> EmbeddingSet:
    """Tell, three at a time, of what is held, and finish."""
    for start in range(0, len(told), 3):
        part = told[start : start + 3]
        held = writer.held([fact.id for fact in part])
        writer.tell([fact for fact in part if fact.id in held])
    return writer.finish()


def digest_of(writer: SetWriter, item_id: str) -> str:
    return "".join(held.digest for held in writer.held([item_id]).values())


def make(path: Path, X: Vectors, *, segment_rows: int = 1000, chunk: int = 4) -> EmbeddingSet:
    with SetWriter(path, model=model(), segment_rows=segment_rows) as writer:
        for start in range(0, len(X), chunk):
            part = X[start : start + chunk]
            writer.append(rows(range(start, start + len(part))), part)
        return finish(writer, facts(range(len(X))))


def ids_of(emb: EmbeddingSet) -> list[str]:
    return [str(item) for item in emb.items.column("id").to_pylist()]


@settings(max_examples=25, deadline=None)
@given(
    chunks=st.lists(st.integers(0, 9), min_size=1, max_size=6),
    segment_rows=st.integers(1, 12),
    reopen=st.booleans(),
)
def test_rows_come_back_in_the_order_they_were_appended(
    chunks: list[int], segment_rows: int, reopen: bool
) -> None:
    X = vectors(sum(chunks))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "x.emb"
        writer = SetWriter(path, model=model(), segment_rows=segment_rows)
        at = 0
        for chunk in chunks:
            writer.append(rows(range(at, at + chunk)), X[at : at + chunk])
            at += chunk
            if reopen:
                writer.close()
                writer = SetWriter(path, model=model(), segment_rows=segment_rows)
        finish(writer, facts(range(at)))
        writer.close()

        emb = EmbeddingSet.open(path)
        np.testing.assert_array_equal(np.asarray(emb.X), X)
        assert ids_of(emb) == [f"i{i}" for i in range(at)]
        assert emb.y.tolist() == [f"c{i % 2}" for i in range(at)]
        assert emb.finished


@pytest.mark.parametrize(
    "key",
    [
        0,
        -1,
        7,
        slice(2, 9),
        slice(None, None, -1),
        slice(4, 4),
        [9, 0, 0, -3],
        np.array([5, 6, 1]),
        np.arange(11) % 3 == 0,
        (slice(1, 8), slice(None, 2)),
        (4, 1),
    ],
)
def test_a_view_of_several_segments_indexes_like_one_array(tmp_path: Path, key: Any) -> None:  # noqa: ANN401
    X = vectors(11)

    emb = make(tmp_path / "x.emb", X, segment_rows=4, chunk=2)

    assert isinstance(emb.X, RowView)
    assert emb.X.shape == (11, DIM)
    np.testing.assert_array_equal(emb.X[key], X[key])


@pytest.mark.parametrize("row", [11, -12])
def test_a_row_outside_a_view_is_an_index_error(tmp_path: Path, row: int) -> None:
    emb = make(tmp_path / "x.emb", vectors(11), segment_rows=4)

    with pytest.raises(IndexError):
        emb.X[row]


def test_a_sealed_segment_is_a_plain_npy_and_parquet_pair(tmp_path: Path) -> None:
    import duckdb
    import pandas as pd
    import polars as pl

    X = vectors(9)
    make(tmp_path / "x.emb", X)
    npy, parquet = (tmp_path / "x.emb" / f"segment-00000.{kind}" for kind in ("npy", "parquet"))

    mapped = np.load(npy, mmap_mode="r", allow_pickle=False)
    with duckdb.connect() as database:
        found = database.execute("SELECT id FROM read_parquet(?)", [str(parquet)]).fetchall()

    np.testing.assert_array_equal(mapped, X)
    wanted = [f"i{i}" for i in range(9)]
    assert pd.read_parquet(parquet)["id"].tolist() == wanted
    assert pl.read_parquet(parquet)["id"].to_list() == wanted
    assert [row[0] for row in found] == wanted


def test_a_newer_version_is_refused_by_name(tmp_path: Path) -> None:
    emb = make(tmp_path / "x.emb", vectors(2))
    (emb.path / "manifest.json").write_text(json.dumps({**emb.manifest, "version": 2}))

    with pytest.raises(StoreError, match=r"featx-embeddings version 2 is newer than 1; upgrade"):
        EmbeddingSet.open(emb.path)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": "other", "version": 1}'])
def test_a_damaged_manifest_is_refused(tmp_path: Path, text: str) -> None:
    emb = make(tmp_path / "x.emb", vectors(2))
    (emb.path / "manifest.json").write_text(text)

    with pytest.raises(StoreError, match=r"manifest\.json"):
        EmbeddingSet.open(emb.path)


def test_a_truncated_segment_is_refused(tmp_path: Path) -> None:
    emb = make(tmp_path / "x.emb", vectors(4))
    npy = emb.path / "segment-00000.npy"
    npy.write_bytes(npy.read_bytes()[:-1])

    with pytest.raises(StoreError, match="damaged: 175 bytes; 4 rows of 3 need 176"):
        _ = EmbeddingSet.open(emb.path).X


@pytest.mark.parametrize("content", [None, b"", b"PAR1 no parquet PAR1"])
def test_a_missing_or_damaged_table_is_refused(tmp_path: Path, content: bytes | None) -> None:
    emb = make(tmp_path / "x.emb", vectors(4))
    parquet = emb.path / "segment-00000.parquet"
    parquet.unlink()
    if content is not None:
        parquet.write_bytes(content)

    with pytest.raises(StoreError, match=r"segment-00000\.parquet: cannot be read"):
        _ = EmbeddingSet.open(emb.path).items


def test_a_second_writer_is_refused_until_the_first_ends(tmp_path: Path) -> None:
    first = SetWriter(tmp_path / "x.emb", model=model())

    with pytest.raises(StoreError, match="another process is writing"):
        SetWriter(tmp_path / "x.emb", model=model())
    first.close()
    SetWriter(tmp_path / "x.emb", model=model()).close()


def test_another_fingerprint_is_refused_and_lets_the_right_one_in(tmp_path: Path) -> None:
    X = vectors(3)
    make(tmp_path / "x.emb", X)

    with pytest.raises(SpaceError, match="made with other settings"):
        SetWriter(tmp_path / "x.emb", model=model("0" * 64))
    SetWriter(tmp_path / "x.emb", model=model()).close()

    np.testing.assert_array_equal(EmbeddingSet.open(tmp_path / "x.emb").X, X)


def test_the_commit_log_of_a_finished_set_can_be_deleted(tmp_path: Path) -> None:
    X = vectors(5)
    path = make(tmp_path / "x.emb", X).path
    for file in path.glob("index.sqlite*"):
        file.unlink()

    with SetWriter(path, model=model()) as writer:
        assert digest_of(writer, "i3") == f"{3:064x}"
        writer.append(rows([5]), vectors(1, seed=1))
        emb = finish(writer, facts(range(6)))

    np.testing.assert_array_equal(np.asarray(emb.X), np.concatenate([X, vectors(1, seed=1)]))


def test_a_damaged_commit_log_is_made_anew(tmp_path: Path) -> None:
    path = make(tmp_path / "x.emb", vectors(5)).path
    (path / "index.sqlite").write_bytes(b"no database at all " * 100)

    with SetWriter(path, model=model()) as writer:
        assert digest_of(writer, "i4") == f"{4:064x}"


def test_a_commit_log_that_was_deleted_without_its_journal_is_made_anew(tmp_path: Path) -> None:
    path = make(tmp_path / "x.emb", vectors(5)).path
    with SetWriter(path, model=model()) as writer:
        writer.append(rows([5]), vectors(1))
        journal = (path / "index.sqlite-wal").read_bytes()
    (path / "index.sqlite").unlink()
    (path / "index.sqlite-wal").write_bytes(journal)

    with SetWriter(path, model=model()) as writer:
        assert (writer.committed, digest_of(writer, "i4")) == (5, f"{4:064x}")
        emb = finish(writer, facts(range(6)))

    np.testing.assert_array_equal(emb.X, vectors(5))


def test_what_was_not_committed_is_cut_off(tmp_path: Path) -> None:
    X = vectors(6)
    path = tmp_path / "x.emb"
    with SetWriter(path, model=model()) as writer:
        writer.append(rows(range(4)), X[:4])
    with (path / "segment-00000.npy").open("ab") as file:
        file.write(b"\xff" * 100)

    with SetWriter(path, model=model()) as writer:
        assert writer.committed == 4
        writer.append(rows([4, 5]), X[4:])
        emb = finish(writer, facts(range(6)))

    np.testing.assert_array_equal(emb.X, X)
    assert (path / "segment-00000.npy").stat().st_size == 128 + 6 * DIM * 4


def test_committed_rows_that_are_gone_are_never_zeros(tmp_path: Path) -> None:
    path = tmp_path / "x.emb"
    with SetWriter(path, model=model()) as writer:
        writer.append(rows(range(4)), vectors(4))
    (path / "segment-00000.npy").write_bytes(b"")

    with SetWriter(path, model=model()) as writer:
        assert (writer.committed, digest_of(writer, "i0")) == (0, "")
        writer.append(rows(range(4)), vectors(4))
        (path / "segment-00000.npy").write_bytes(b"")
        with pytest.raises(StoreError, match="damaged: 0 bytes; 4 rows of 3 need 176"):
            writer.seal()


def test_rows_that_the_writer_did_not_hear_of_are_sealed(tmp_path: Path) -> None:
    X = vectors(4)
    path = tmp_path / "x.emb"
    with SetWriter(path, model=model()) as writer:
        writer.append(rows([0, 1]), X[:2])
        writer._rows = 0  # as if a signal had arrived right after the log's transaction
        writer.seal()
        writer.append(rows([2, 3]), X[2:])
        emb = finish(writer, facts(range(4)))

    np.testing.assert_array_equal(np.asarray(emb.X), X)
    assert ids_of(emb) == ["i0", "i1", "i2", "i3"]


@pytest.mark.parametrize("name", ["notes.txt", "segment-00000.npy"])
def test_a_folder_that_is_no_set_is_left_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / "lock").touch()
    (tmp_path / name).write_text("mine")

    with pytest.raises(StoreError, match="a folder that is no embedding set"):
        SetWriter(tmp_path, model=model())

    assert (tmp_path / name).read_text() == "mine"


def test_a_folder_that_a_killed_run_began_is_taken_up(tmp_path: Path) -> None:
    (tmp_path / "lock").touch()
    (tmp_path / ".manifest.json.abcd.tmp").touch()

    SetWriter(tmp_path, model=model()).close()

    assert len(EmbeddingSet.open(tmp_path)) == 0
    assert not list(tmp_path.glob(".*.tmp"))


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.emb").touch()

    with pytest.raises(StoreError, match="a file is in the way"):
        SetWriter(tmp_path / "x.emb", model=model())


@pytest.mark.parametrize("order", [[3, 1, 0, 2, 4], [4, 2], [0, 1, 2, 3], []])
def test_finishing_keeps_exactly_the_named_items_in_their_order(
    tmp_path: Path, order: list[int]
) -> None:
    X = vectors(5)
    path = make(tmp_path / "x.emb", X, segment_rows=2, chunk=2).path

    with SetWriter(path, model=model(), segment_rows=2) as writer:
        emb = finish(writer, facts([*order, 99]))

    np.testing.assert_array_equal(np.asarray(emb.X), X[order])
    assert ids_of(emb) == [f"i{i}" for i in order]
    assert emb.items.column("preview").to_pylist() == [f"p{i}" for i in order]
    named = {f"{name}.{kind}" for name in emb.segments for kind in ("npy", "parquet")}
    assert {file.name for file in path.glob("segment-*")} == named


def test_finishing_with_other_labels_changes_only_the_tables(tmp_path: Path) -> None:
    X = vectors(5)
    old = make(tmp_path / "x.emb", X, segment_rows=2, chunk=2)

    with SetWriter(old.path, model=model()) as writer:
        new = finish(writer, [Facts(id=f"i{i}", label="new", split="val") for i in range(5)])

    assert new.segments == old.segments
    assert new.y.tolist() == ["new"] * 5
    assert new.items.column("split").to_pylist() == ["val"] * 5
    np.testing.assert_array_equal(np.asarray(new.X), X)


def test_the_newest_row_of_an_id_counts(tmp_path: Path) -> None:
    path = make(tmp_path / "x.emb", vectors(3)).path
    changed = vectors(1, seed=9)

    with SetWriter(path, model=model()) as writer:
        writer.append([Row(id="i1", digest="ab")], changed)
        assert digest_of(writer, "i1") == "ab"
        emb = finish(writer, facts(range(3)))

    wanted = vectors(3)
    wanted[1] = changed
    np.testing.assert_array_equal(emb.X, wanted)


def test_labels_are_given_by_id_and_others_stay(tmp_path: Path) -> None:
    path = make(tmp_path / "x.emb", vectors(4)).path

    applied = apply_labels(path, Labels(labels={"i0": "z", "i1": None, "nope": "z"}))

    assert EmbeddingSet.open(path).y.tolist() == ["z", None, "c0", "c1"]
    assert (applied.matched, applied.changed, applied.unknown) == (2, 2, ["nope"])


def test_a_source_that_says_nothing_of_labels_leaves_given_ones(tmp_path: Path) -> None:
    make(tmp_path / "x.emb", vectors(4))
    apply_labels(tmp_path / "x.emb", Labels(labels={"i1": "given"}, splits={"i2": "test"}))

    with SetWriter(tmp_path / "x.emb", model=model()) as writer:
        writer.append([Row(id="i1", digest="9" * 64)], vectors(1, seed=1))
        emb = finish(writer, [Facts(id=f"i{i}") for i in range(4)])

    assert emb.y.tolist() == ["c0", "given", "c0", "c1"]
    assert emb.items.column("split").to_pylist() == [None, None, "test", None]
    np.testing.assert_array_equal(emb.X[1], vectors(1, seed=1)[0])


def test_facts_of_other_rows_are_refused(tmp_path: Path) -> None:
    table = make(tmp_path / "x.emb", vectors(4)).items

    with SetWriter(tmp_path / "x.emb", model=model()) as writer:
        finish(writer, facts([0, 2]))
        with pytest.raises(StoreError, match="rows have changed meanwhile"):
            writer.update(table)


@settings(max_examples=25, deadline=None)
@given(
    first=st.permutations(range(9)),
    second=st.lists(st.integers(0, 11), unique=True, max_size=12),
    changed=st.sets(st.integers(0, 11)),
    segment_rows=st.integers(2, 12),
)
def test_a_set_follows_any_change_of_its_source(
    first: list[int], second: list[int], changed: set[int], segment_rows: int
) -> None:
    X, Y = vectors(12), vectors(12, seed=1)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "x.emb"
        for ids, news, label in [(first, set(range(12)), None), (second, changed, "new")]:
            with SetWriter(path, model=model(), segment_rows=segment_rows) as writer:
                held = writer.held([f"i{i}" for i in ids])
                for i in ids:
                    if i in news or f"i{i}" not in held:
                        source = Y if label and i in changed else X
                        writer.append([Row(id=f"i{i}", digest=f"{i}{label}")], source[i : i + 1])
                    writer.tell([Facts(id=f"i{i}", uri=f"/{i}", label=label if i % 2 else None)])
                emb = writer.finish()

        wanted = np.array([(Y if i in changed else X)[i] for i in second]).reshape(-1, DIM)
        np.testing.assert_array_equal(np.asarray(emb.X), wanted)
        assert emb.ids == [f"i{i}" for i in second]
        assert emb.items.column("uri").to_pylist() == [f"/{i}" for i in second]
        assert emb.y.tolist() == ["new" if i % 2 else None for i in second]


def test_what_is_held_says_whether_the_source_has_told_of_it(tmp_path: Path) -> None:
    path = make(tmp_path / "x.emb", vectors(3)).path

    with SetWriter(path, model=model()) as writer:
        before = writer.held(["i2", "nope", "i0"])
        writer.tell(facts([2]))
        after = writer.held(["i0", "i2"])

    told = {"i0": False, "i2": False}
    assert {item_id: held.is_told for item_id, held in before.items()} == told
    assert {item_id: held.is_told for item_id, held in after.items()} == told | {"i2": True}
    assert before["i2"] == Held(2, f"{2:064x}", False, "", "c0", None, False)


@pytest.mark.parametrize("order", [[0, 1, 1], [0, 2, 1, 2], [7]])
def test_an_item_is_told_of_once_and_only_if_it_is_held(tmp_path: Path, order: list[int]) -> None:
    path = make(tmp_path / "x.emb", vectors(3)).path

    with SetWriter(path, model=model()) as writer:
        writer.tell(facts(order[:-1]))
        with pytest.raises(StoreError, match=rf"'i{order[-1]}' (is not held|has been told of)"):
            writer.tell(facts(order[-1:]))


def test_an_unchanged_source_leaves_every_file_of_the_rows_as_it_is(tmp_path: Path) -> None:
    path = make(tmp_path / "x.emb", vectors(9), segment_rows=4).path
    before = {file.name: file.stat().st_mtime_ns for file in path.glob("segment-*")}

    with SetWriter(path, model=model()) as writer:
        finish(writer, facts(range(9)))

    assert {file.name: file.stat().st_mtime_ns for file in path.glob("segment-*")} == before


def test_only_tables_with_new_facts_are_written_anew(tmp_path: Path) -> None:
    old = make(tmp_path / "x.emb", vectors(9), segment_rows=4)

    with SetWriter(old.path, model=model()) as writer:
        told = facts(range(9))
        told[5] = Facts(id="i5", label="new")
        emb = finish(writer, told)

    tables = [segment["items"] for segment in emb.manifest["segments"]]
    assert tables == ["segment-00000.parquet", "segment-00001-r1.parquet", "segment-00002.parquet"]
    assert emb.y.tolist() == ["c0", "c1", "c0", "c1", "c0", "new", "c0", "c1", "c0"]


def test_a_partial_run_puts_new_rows_last_and_drops_replaced_ones_only(tmp_path: Path) -> None:
    X, Y = vectors(5), vectors(2, seed=1)
    path = make(tmp_path / "x.emb", X, segment_rows=3).path

    with SetWriter(path, model=model()) as writer:
        writer.append(rows([1, 5]), Y)
        emb = writer.finish(partial=True)

    assert emb.ids == ["i0", "i2", "i3", "i4", "i1", "i5"]
    np.testing.assert_array_equal(np.asarray(emb.X), [*X[[0, 2, 3, 4]], *Y])
    assert emb.finished


def test_a_partial_run_leaves_an_unfinished_set_unfinished(tmp_path: Path) -> None:
    with SetWriter(tmp_path / "x.emb", model=model()) as writer:
        writer.append(rows([0]), vectors(1))

    with SetWriter(tmp_path / "x.emb", model=model()) as writer:
        writer.append(rows([1]), vectors(1))
        emb = writer.finish(partial=True)

    assert (emb.ids, emb.finished) == (["i0", "i1"], False)


def test_labels_that_are_attached_to_a_begun_set_keep_its_open_rows(tmp_path: Path) -> None:
    X = vectors(5)
    with SetWriter(tmp_path / "x.emb", model=model()) as writer:
        writer.append(rows([0, 1, 2]), X[:3])
        writer.seal()
        writer.append(rows([3, 4]), X[3:])
    apply_labels(tmp_path / "x.emb", Labels(labels={"i1": "given"}))

    with SetWriter(tmp_path / "x.emb", model=model()) as writer:
        emb = finish(writer, [Facts(id=f"i{i}") for i in range(5)])

    np.testing.assert_array_equal(np.asarray(emb.X), X)
    assert emb.y.tolist() == ["c0", "given", "c0", "c1", "c0"]


OLD_TABLES = """
CREATE TABLE pending (row INTEGER PRIMARY KEY, facts TEXT NOT NULL);
CREATE TABLE state (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""
OLD_KNOWN = {
    0: "CREATE TABLE known (id TEXT PRIMARY KEY, digest TEXT NOT NULL) WITHOUT ROWID",
    2: (
        "CREATE TABLE known (row INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, "
        "digest TEXT NOT NULL, truncated INTEGER NOT NULL, uri TEXT NOT NULL, label TEXT, "
        "split TEXT)"
    ),
}


def give_old_log(path: Path, layout: int, pending: Sequence[Row]) -> None:
    """Replace a set's commit log by one of an older layout, with these rows in its open segment."""
    with closing(sqlite3.connect(path / "index.sqlite")) as log:
        known = log.execute("SELECT * FROM known").fetchall()
        state = log.execute("SELECT * FROM state").fetchall()
    for file in path.glob("index.sqlite*"):
        file.unlink()
    with closing(sqlite3.connect(path / "index.sqlite")) as log, log:
        log.executescript(f"{OLD_TABLES} {OLD_KNOWN[layout]}; PRAGMA user_version = {layout}")
        log.executemany("INSERT INTO state VALUES (?, ?)", state)
        facts = [(at, json.dumps(row._asdict())) for at, row in enumerate(pending)]
        log.executemany("INSERT INTO pending VALUES (?, ?)", facts)
        if layout == 2:
            log.executemany("INSERT INTO known VALUES (?, ?, ?, ?, ?, ?, ?)", known)


@pytest.mark.parametrize("layout", [0, 2])
def test_a_commit_log_of_an_old_layout_keeps_its_open_rows(tmp_path: Path, layout: int) -> None:
    X, path = vectors(5), tmp_path / "x.emb"
    with SetWriter(path, model=model()) as writer:
        writer.append(rows([0, 1, 2]), X[:3])
        writer.seal()
        writer.append(rows([3, 4]), X[3:])
    give_old_log(path, layout, rows([3, 4]))

    with SetWriter(path, model=model()) as writer:
        held = writer.held([f"i{i}" for i in range(6)])
        writer.append(rows([5]), vectors(1, seed=1))
        emb = finish(writer, facts(range(6)))

    assert {item_id: (one.row, one.digest) for item_id, one in held.items()} == {
        f"i{i}": (i, f"{i:064x}") for i in range(5)
    }
    np.testing.assert_array_equal(np.asarray(emb.X), [*X, *vectors(1, seed=1)])
    assert emb.items.column("preview").to_pylist() == [f"p{i}" for i in range(6)]


@pytest.mark.parametrize("commits", [[5000, 1, 3000], [1] * 9, [4095, 2], [4096, 4096], [9000]])
def test_the_table_of_a_segment_does_not_depend_on_its_commits(
    tmp_path: Path, commits: list[int]
) -> None:
    total, at = sum(commits), 0
    X = vectors(total)

    with SetWriter(tmp_path / "x.emb", model=model()) as writer:
        for count in commits:
            writer.append(rows(range(at, at + count)), X[at : at + count])
            at += count
        writer.seal()

    with pq.ParquetFile(tmp_path / "x.emb" / "segment-00000.parquet") as table:
        groups = [table.metadata.row_group(i).num_rows for i in range(table.num_row_groups)]
        found = table.read().to_pylist()
    assert groups == [min(4096, total - start) for start in range(0, total, 4096)]
    assert [Row(**facts) for facts in found] == rows(range(total))


def test_a_row_that_was_looked_up_before_gives_its_label_to_the_next(tmp_path: Path) -> None:
    make(tmp_path / "x.emb", vectors(2))

    with SetWriter(tmp_path / "x.emb", model=model()) as writer:
        writer.held(["i0", "i1", "new"])
        for digest in ("a", "b"):
            writer.append([Row(id=name, digest=digest) for name in ("new", "i1")], vectors(2))
        held = writer.held(["new", "i1"])

    assert held == {
        "new": Held(4, "b", False, "", None, None, False),
        "i1": Held(5, "b", False, "", "c1", None, False),
    }


def test_a_commit_log_of_a_newer_layout_is_made_anew(tmp_path: Path) -> None:
    path = make(tmp_path / "x.emb", vectors(5)).path
    with closing(sqlite3.connect(path / "index.sqlite")) as log:
        log.execute("PRAGMA user_version = 99")

    with SetWriter(path, model=model()) as writer:
        assert digest_of(writer, "i4") == f"{4:064x}"


@pytest.mark.parametrize("page", [0, 2, 4])
def test_a_commit_log_with_a_damaged_page_is_made_anew(tmp_path: Path, page: int) -> None:
    path = make(tmp_path / "x.emb", vectors(2000), chunk=2000, segment_rows=2000).path
    log = bytearray((path / "index.sqlite").read_bytes())
    log[page * 4096 :] = b"\xff" * (len(log) - page * 4096)
    (path / "index.sqlite").write_bytes(log)

    with SetWriter(path, model=model()) as writer:
        assert len(writer.held([f"i{i}" for i in range(2000)])) == 2000


def test_a_commit_log_that_is_found_damaged_late_is_mended_by_the_next_run(tmp_path: Path) -> None:
    path = make(tmp_path / "x.emb", vectors(2000), chunk=2000, segment_rows=2000).path
    log = bytearray((path / "index.sqlite").read_bytes())
    half = len(log) // 2
    log[half:] = b"\xff" * (len(log) - half)
    (path / "index.sqlite").write_bytes(log)

    with (
        SetWriter(path, model=model()) as writer,
        pytest.raises(StoreError, match=r"index\.sqlite: damaged: .*; run the command again"),
    ):
        writer.held([f"i{i}" for i in range(2000)])
    with SetWriter(path, model=model()) as writer:
        assert len(writer.held([f"i{i}" for i in range(2000)])) == 2000


@pytest.mark.parametrize("kept", [0, 100, 700])
def test_damaged_facts_of_open_rows_are_found_and_their_items_embedded_again(
    tmp_path: Path, kept: int
) -> None:
    path = tmp_path / "x.emb"
    with SetWriter(path, model=model()) as writer:
        writer.append(rows(range(3)), vectors(3))
    with closing(sqlite3.connect(path / "index.sqlite")) as log, log:
        (facts_,) = log.execute("SELECT facts FROM opened").fetchone()
        damaged = facts_[:kept] + b"\xff" * (len(facts_) - kept)
        log.execute("UPDATE opened SET facts = ?", (damaged,))

    with (
        SetWriter(path, model=model()) as writer,
        pytest.raises(StoreError, match=r"index\.sqlite: damaged: (.|\n)*; run the command again"),
    ):
        writer.seal()
    with SetWriter(path, model=model()) as writer:
        assert writer.committed == 0
        writer.append(rows(range(3)), vectors(3))
        emb = finish(writer, facts(range(3)))

    np.testing.assert_array_equal(emb.X, vectors(3))


MEMORY_RUN = """
import sys
from pathlib import Path
import numpy as np
from featx.data.rows import Row
from featx.data.writer import Facts, Held, SetWriter

def anonymous_kib():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))

model = dict(name="m", modality="array", dim=16, normalize=False, fingerprint="f", space="s")
count, peak = int(sys.argv[1]), 0
X = np.random.default_rng(0).standard_normal((4096, 16), dtype=np.float32)
with SetWriter(Path(sys.argv[2]), model=model) as writer:
    for start in range(0, count, len(X)):
        numbers = range(start, min(start + len(X), count))
        names = [f"i{i}" for i in numbers]
        writer.held(names)
        rows = [Row(id=n, digest=f"{i:064x}", uri=f"/{n}") for i, n in zip(numbers, names)]
        writer.append(rows, X[: len(rows)])
        writer.tell([Facts(n, f"/{n}") for n in names])
        peak = max(peak, anonymous_kib())
    assert len(writer.finish()) == count
print(max(peak, anonymous_kib()))
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="needs Linux's /proc")
def test_a_million_rows_take_the_memory_of_ten_thousand(tmp_path: Path) -> None:
    peaks = []
    for count in (10_000, 1_000_000):
        command = [sys.executable, "-c", MEMORY_RUN, str(count), str(tmp_path / f"{count}.emb")]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks.append(int(run.stdout))

    assert peaks[1] <= 1.05 * peaks[0], peaks


def source_of(shard: str | None = None, limit: int | None = None) -> dict[str, Any]:
    return {"kind": "folder", "shard": shard, "limit": limit}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (source_of("1/2"), source_of("2/2"), "holds shard 1/2 of its source; shard 2/2 would"),
        (source_of(), source_of(limit=2), "holds all of its source; the first 2 items would"),
        (
            source_of("1/2", 9),
            source_of("1/2", 8),
            "holds the first 9 items of shard 1/2 of its source; the first 8 items of shard 1/2 ",
        ),
        (source_of(limit=2), source_of("1/2"), "holds the first 2 items of its source; shard 1/2"),
    ],
)
@pytest.mark.parametrize("is_finished", [True, False])
def test_a_part_of_a_source_does_not_replace_another_part(
    tmp_path: Path, *, old: dict[str, Any], new: dict[str, Any], message: str, is_finished: bool
) -> None:
    path = tmp_path / "x.emb"
    with SetWriter(path, model=model(), source=old) as writer:
        writer.append(rows([0, 1]), vectors(2))
        if is_finished:
            finish(writer, facts([0, 1]))

    with pytest.raises(InputError) as caught:
        SetWriter(path, model=model(), source=new)

    assert str(caught.value).startswith(f"{path}: {message}")
    assert str(caught.value).endswith(" would drop the other rows; choose another -o")
    with SetWriter(path, model=model(), source=old) as writer:
        assert writer.committed == 2


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (source_of("1/2"), source_of()),
        (source_of("1/2", 3), source_of("1/2")),
        (source_of(limit=2), source_of(limit=3)),
        ({}, source_of("1/2")),
    ],
)
def test_a_set_of_a_part_grows(tmp_path: Path, old: dict[str, Any], new: dict[str, Any]) -> None:
    path = tmp_path / "x.emb"
    with SetWriter(path, model=model(), source=old) as writer:
        writer.append(rows([0]), vectors(1))

    with SetWriter(path, model=model(), source=new) as writer:
        writer.append(rows([1]), vectors(1))

    assert EmbeddingSet.open(path).manifest["source"] == new


def test_a_folder_that_cannot_be_locked_is_an_error_that_leaves_no_file_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        opened.append(descriptor)
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    opened: list[int] = []
    monkeypatch.setattr("fcntl.flock", refuse)  # as some network file systems do

    with pytest.raises(StoreError, match=r"x\.emb: cannot be locked: .*; use a local disk$"):
        SetWriter(tmp_path / "x.emb", model=model())
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(opened[0])
