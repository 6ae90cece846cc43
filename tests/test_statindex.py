"""Digests of files by their stat."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from featx.data.statindex import Key, Seen, StatIndex
from featx.types import Span


@pytest.fixture
def index(tmp_path: Path) -> Iterator[StatIndex]:
    index = StatIndex(tmp_path / "cache")
    yield index
    index.close()


def file_at(path: Path, content: bytes = b"abc", *, modified_s: int = 1000) -> Path:
    path.write_bytes(content)
    os.utime(path, (modified_s, modified_s))
    return path


def learn(index: StatIndex, *keys: Key) -> None:
    """Remember of each key its own name as its digest."""
    seen = index.look(keys)
    index.remember([(key, s.stat, repr(key).encode()) for key, s in zip(keys, seen, strict=True)])


def known(index: StatIndex, *keys: Key) -> list[bool]:
    """Return whether each key is known, checking that no other's digest is given."""
    digests = [seen.digest for seen in index.look(keys)]
    for key, digest in zip(keys, digests, strict=True):
        assert digest in (None, repr(key).encode())
    return [digest is not None for digest in digests]


def test_an_unchanged_file_is_known_and_a_changed_one_is_not(
    tmp_path: Path, index: StatIndex
) -> None:
    path = file_at(tmp_path / "a.bin")
    learn(index, path)

    unchanged = known(index, path)
    os.utime(path, (1001, 1001))
    touched = known(index, path)
    grown = known(index, file_at(path, b"abcd"))
    path.unlink()
    gone = index.look([path])

    assert (unchanged, touched, grown) == ([True], [False], [False])
    assert gone == [Seen("", None)]


def test_an_edit_whose_time_was_set_back_is_noticed(tmp_path: Path, index: StatIndex) -> None:
    path = file_at(tmp_path / "a.bin")
    learn(index, path)
    before = path.stat().st_ctime_ns
    while path.stat().st_ctime_ns == before:  # the clock of some file systems ticks slowly
        file_at(path, b"xyz")

    assert known(index, path) == [False]


def test_a_file_that_was_replaced_by_another_is_not_known(tmp_path: Path, index: StatIndex) -> None:
    path = file_at(tmp_path / "a.bin")
    learn(index, path)
    file_at(tmp_path / "b.bin", b"xyz").replace(path)

    assert known(index, path) == [False]


def test_a_file_that_was_just_written_is_not_remembered(tmp_path: Path, index: StatIndex) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"abc")

    assert index.look([path]) == [Seen("", None)]
    index.remember([(path, "", b"digest")])
    assert index.look([file_at(path)])[0].digest is None


def test_an_edit_between_the_look_and_the_reading_is_noticed(
    tmp_path: Path, index: StatIndex
) -> None:
    path = file_at(tmp_path / "a.bin")
    [seen] = index.look([path])
    file_at(path, b"abcdef")
    index.remember([(path, seen.stat, b"digest")])

    assert index.look([path])[0].digest is None


def test_parts_of_a_file_are_known_until_it_changes(tmp_path: Path, index: StatIndex) -> None:
    path = file_at(tmp_path / "a.tar", b"abcdef")
    parts = [Span(path, 0, 3), Span(path, 3, 3), Span(path, 0, 6)]
    learn(index, *parts[:2], path)

    before = known(index, *parts, path)
    file_at(path, b"abcdefg")
    after = known(index, *parts, path)

    assert before == [True, True, False, True]
    assert after == [False] * 4


def test_answers_come_in_the_order_of_the_keys(tmp_path: Path, index: StatIndex) -> None:
    paths = [file_at(tmp_path / f"{i:04d}.bin") for i in range(1200)]
    learn(index, *paths[::2])
    order = np.random.default_rng(0).permutation(1200)

    in_order = known(index, *paths, paths[0], tmp_path / "none")
    shuffled = known(index, *(paths[i] for i in order))
    few = known(index, paths[1198], paths[0], paths[601])

    assert in_order == [*(i % 2 == 0 for i in range(1200)), True, False]
    assert shuffled == [i % 2 == 0 for i in order]
    assert few == [True, True, False]


def test_names_may_be_relative_odd_or_impossible(
    tmp_path: Path, index: StatIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    odd = file_at(Path(os.fsdecode(b"caf\xe9 #1+2.bin")))
    file_at(Path("a.bin"))
    seen = index.look([Path("a.bin"), odd])
    index.remember([(Path("a.bin"), seen[0].stat, b"a"), (odd, seen[1].stat, b"odd")])

    keys = [tmp_path / "a.bin", tmp_path / odd, Path("nul\0.bin"), tmp_path / "a.bin" / "b"]
    assert [seen.digest for seen in index.look(keys)] == [b"a", b"odd", None, None]


def test_looking_at_nothing_makes_nothing(tmp_path: Path, index: StatIndex) -> None:
    index.remember([])

    assert index.look([]) == []
    assert not (tmp_path / "cache").exists()


def test_an_unusable_index_knows_nothing_and_says_why(tmp_path: Path) -> None:
    path = file_at(tmp_path / "a.bin")
    (tmp_path / "cache").write_text("my notes")
    index = StatIndex(tmp_path / "cache")
    learn(index, path)

    assert known(index, path) == [False]
    assert "files.sqlite" in index.problem
    index.close()
