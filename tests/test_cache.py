"""The user-wide cache."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featx.data.cache import StatIndex, VectorCache, clear, contents, shrink
from featx.errors import StoreError
from featx.fingerprint import digest
from featx.types import Vectors

FINGERPRINT = "ab" * 32
NAME = f"vectors-{FINGERPRINT[:32]}.sqlite"


def numbers(count: int, seed: int = 0) -> Vectors:
    return np.random.default_rng(seed).standard_normal((count, 3), dtype=np.float32)


def keys(count: int) -> list[bytes]:
    return [digest(str(i).encode()) for i in range(count)]


def opened(folder: Path) -> VectorCache:
    return VectorCache(folder, fingerprint=FINGERPRINT, dim=3)


def test_what_is_put_is_got_again(tmp_path: Path) -> None:
    X = numbers(1200)
    cache = opened(tmp_path)
    cache.put(keys(1200), X)
    cache.close()

    cache = opened(tmp_path)
    found = cache.get([*keys(1300)])
    cache.close()

    assert sorted(found) == sorted(keys(1200))
    np.testing.assert_array_equal(np.stack([found[key] for key in keys(1200)]), X)


@given(writes=st.lists(st.tuples(st.integers(0, 5), st.floats(width=32)), max_size=12))
def test_the_cache_is_a_dictionary(
    tmp_path_factory: pytest.TempPathFactory, writes: list[tuple[int, float]]
) -> None:
    cache = opened(tmp_path_factory.mktemp("cache"))
    wanted: dict[bytes, float] = {}
    for key, value in writes:
        cache.put(keys(6)[key : key + 1], np.full((1, 3), value, dtype=np.float32))
        wanted[keys(6)[key]] = value

    found = cache.get(keys(6))
    cache.close()

    assert found.keys() == wanted.keys()
    for name, row in found.items():
        np.testing.assert_array_equal(row, np.full(3, wanted[name], dtype=np.float32))


def test_vectors_of_another_width_are_not_given(tmp_path: Path) -> None:
    cache = opened(tmp_path)
    cache.put(keys(2), numbers(2))
    cache.close()

    other = VectorCache(tmp_path, fingerprint=FINGERPRINT, dim=2)
    found = other.get(keys(2))
    other.close()

    assert found == {}


def test_a_file_that_is_no_database_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"no database at all " * 100)

    cache = opened(tmp_path)
    cache.put(keys(2), numbers(2))
    found = cache.get(keys(2))
    cache.close()

    np.testing.assert_array_equal(np.stack([found[key] for key in keys(2)]), numbers(2))


def test_a_database_that_is_damaged_inside_only_misses(tmp_path: Path) -> None:
    cache = opened(tmp_path)
    cache.put(keys(500), numbers(500))
    cache.close()
    raw = bytearray((tmp_path / NAME).read_bytes())
    raw[4096:] = b"\xff" * (len(raw) - 4096)
    (tmp_path / NAME).write_bytes(raw)

    cache = opened(tmp_path)
    found = cache.get(keys(500))
    cache.put(keys(500), numbers(500))
    cache.close()

    assert found == {}


def test_a_place_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(StoreError, match="file"):
        opened(tmp_path / "file")


WRITE = """
import sys
from pathlib import Path
import numpy as np
from featx.data.cache import VectorCache
from featx.fingerprint import digest
cache = VectorCache(Path(sys.argv[1]), fingerprint=sys.argv[2], dim=3)
first = int(sys.argv[3])
for i in range(first, first + 200):
    cache.put([digest(str(i).encode())], np.full((1, 3), i, dtype=np.float32))
cache.close()
"""


def test_several_processes_write_at_once(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITE, str(tmp_path / "cache"), FINGERPRINT]
    running = [subprocess.Popen([*command, str(first)]) for first in (0, 200, 300)]
    codes = [process.wait(timeout=60) for process in running]

    cache = opened(tmp_path / "cache")
    found = cache.get(keys(500))
    cache.close()

    assert codes == [0, 0, 0]
    assert [found[key].tolist() for key in keys(500)] == [[i] * 3 for i in range(500)]


@pytest.fixture
def old_file(tmp_path: Path) -> Path:
    path = tmp_path / "a.bin"
    path.write_bytes(b"abc")
    os.utime(path, (1000, 1000))
    return path


def test_an_unchanged_file_is_known_and_a_changed_one_is_not(
    tmp_path: Path, old_file: Path
) -> None:
    index = StatIndex(tmp_path / "cache")
    index.put([(old_file, b"digest")], now_s=2000)

    known = index.get(old_file)
    os.utime(old_file, (1001, 1001))
    touched = index.get(old_file)
    old_file.write_bytes(b"abcd")
    os.utime(old_file, (1000, 1000))
    grown = index.get(old_file)
    old_file.unlink()
    gone = index.get(old_file)
    index.close()

    assert (known, touched, grown, gone) == (b"digest", None, None, None)


def test_a_file_that_was_replaced_within_its_time_stamp_is_not_known(
    tmp_path: Path, old_file: Path
) -> None:
    index = StatIndex(tmp_path / "cache")
    index.put([(old_file, b"digest")], now_s=2000)
    other = tmp_path / "b.bin"
    other.write_bytes(b"xyz")
    os.utime(other, (1000, 1000))
    other.replace(old_file)

    found = index.get(old_file)
    index.close()

    assert found is None


def test_a_file_that_was_just_written_is_not_remembered(tmp_path: Path, old_file: Path) -> None:
    index = StatIndex(tmp_path / "cache")
    index.put([(old_file, b"digest"), (tmp_path / "gone", b"digest")], now_s=1001.5)

    found = index.get(old_file)
    index.close()

    assert found is None


def test_the_least_recently_written_stores_go_first(tmp_path: Path) -> None:
    for name, size_bytes, modified_s in [("a", 100, 3), ("b", 100, 1), ("c", 100, 2)]:
        path = tmp_path / f"{name}.sqlite"
        path.write_bytes(b"x" * size_bytes)
        os.utime(path, (modified_s, modified_s))
    (tmp_path / "b.sqlite-wal").touch()

    freed = shrink(tmp_path, limit_bytes=250)
    kept = [file.name for file in contents(tmp_path)]
    freed_again = shrink(tmp_path, limit_bytes=100)

    assert (freed, kept) == (100, ["c.sqlite", "a.sqlite"])
    assert (freed_again, [p.name for p in tmp_path.iterdir()]) == (100, ["a.sqlite"])


def test_a_cache_is_cleared_and_a_foreign_folder_is_not(tmp_path: Path) -> None:
    opened(tmp_path / "cache").close()
    foreign = tmp_path / "mine"
    opened(foreign).close()
    (foreign / "thesis.txt").write_text("years of work")

    clear(tmp_path / "cache")
    clear(tmp_path / "nothing there")
    with pytest.raises(StoreError, match=r"holds 'thesis\.txt', which is not featx's"):
        clear(foreign)

    assert not (tmp_path / "cache").exists()
    assert sorted(p.name for p in foreign.iterdir()) == ["thesis.txt", NAME]


def test_a_newer_cache_is_refused_by_its_version(tmp_path: Path) -> None:
    VectorCache(tmp_path, fingerprint="f", dim=2).close()
    (file,) = tmp_path.glob("*.sqlite")
    database = sqlite3.connect(file)
    database.execute("PRAGMA user_version=9")
    database.close()

    with pytest.raises(StoreError, match="featx-cache version 9 is newer than 1; upgrade featx"):
        VectorCache(tmp_path, fingerprint="f", dim=2)
