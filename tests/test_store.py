"""Embedding sets on disk."""

import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featx.data.labels import Labels, apply_labels
from featx.data.rows import Row
from featx.data.segment import RowView
from featx.data.store import EmbeddingSet
from featx.data.writer import Facts, SetWriter
from featx.errors import SpaceError, StoreError
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
