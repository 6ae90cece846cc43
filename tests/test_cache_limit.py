"""How the user-wide cache is kept small, and cleared."""

import os
from pathlib import Path

import numpy as np
import pytest

from featx.data.cache import CacheFile, cache_limit, clear, contents, keep_within
from featx.data.statindex import StatIndex
from featx.data.vectorcache import VectorCache, inside
from featx.errors import InputError, StoreError
from featx.fingerprint import digest

ROWS = 3000
DIM = 128


def keys(count: int) -> list[bytes]:
    return [digest(str(i).encode()) for i in range(count)]


def opened(folder: Path, name: str) -> VectorCache:
    return VectorCache(folder, fingerprint=name, dim=DIM)


def fill(folder: Path, name: str, *, rows: int = ROWS, used_s: float | None = None) -> Path:
    store = opened(folder, name)
    for start in range(0, rows, 500):
        part = keys(rows)[start : start + 500]
        store.put(part, np.full((len(part), DIM), start, dtype=np.float32))
    store.close()
    path = folder / f"vectors-{name}.sqlite"
    if used_s is not None:
        os.utime(path, (used_s, used_s))
    return path


def names(folder: Path) -> list[str]:
    return [file.name.removeprefix("vectors-").removesuffix(".sqlite") for file in contents(folder)]


def size(folder: Path) -> int:
    return sum(file.size_bytes for file in contents(folder))


def test_the_least_recently_used_stores_go_first(tmp_path: Path) -> None:
    for name, used_s in [("a", 3), ("b", 1), ("c", 2)]:
        fill(tmp_path, name, rows=100, used_s=used_s)
    before = size(tmp_path)

    freed = keep_within(tmp_path, before - 1)

    assert names(tmp_path) == ["c", "a"]
    assert freed == before - size(tmp_path) > 0
    assert keep_within(tmp_path, size(tmp_path)) == 0


def test_reading_a_store_counts_as_its_use(tmp_path: Path) -> None:
    for name, used_s in [("a", 1), ("b", 2)]:
        fill(tmp_path, name, rows=100, used_s=used_s)
    store = opened(tmp_path, "a")
    found = store.get_many(keys(1))
    store.close()

    assert len(found) == 1
    assert names(tmp_path) == ["b", "a"]


def test_a_log_belongs_to_its_store(tmp_path: Path) -> None:
    store = opened(tmp_path, "a")
    store.put(keys(500), np.ones((500, DIM), dtype=np.float32))
    on_disk = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    listed = contents(tmp_path)
    store.close()

    assert sorted(on_disk) == [f"vectors-a.sqlite{suffix}" for suffix in ("", "-shm", "-wal")]
    assert [file.size_bytes for file in listed] == [sum(on_disk.values())]


def test_the_oldest_rows_of_one_large_store_go_and_the_disk_gets_its_space(tmp_path: Path) -> None:
    path = fill(tmp_path, "a")
    whole = path.stat().st_size
    limit = whole // 3

    freed = keep_within(tmp_path, limit)
    store = opened(tmp_path, "a")
    found = store.get_many(keys(ROWS))
    store.close()
    kept = [i for i, key in enumerate(keys(ROWS)) if key in found]

    assert path.stat().st_size <= limit
    assert freed >= whole - limit
    assert kept == list(range(ROWS - len(kept), ROWS))
    assert len(kept) >= ROWS // 4
    for i in kept:
        assert found[keys(ROWS)[i]][0].tolist() == [i // 500 * 500] * DIM


def test_a_large_store_is_trimmed_while_it_is_used(tmp_path: Path) -> None:
    path = fill(tmp_path, "a")
    store = opened(tmp_path, "a")
    assert len(store.get_many(keys(ROWS))) == ROWS

    keep_within(tmp_path, path.stat().st_size // 2)
    store.put(keys(1), np.ones((1, DIM), dtype=np.float32))
    found = store.get_many(keys(ROWS))
    problem = store.problem
    store.close()

    assert problem == ""
    assert keys(1)[0] in found
    assert keys(ROWS)[-1] in found
    assert inside(path)[1] == len(found) < ROWS


def test_a_deleted_store_is_begun_anew_by_who_uses_it(tmp_path: Path) -> None:
    fill(tmp_path, "a")
    store = opened(tmp_path, "a")
    store.get_many(keys(1))

    keep_within(tmp_path, 0)
    store.put(keys(1), np.ones((1, DIM), dtype=np.float32))
    problem = store.problem
    store.close()

    assert problem == ""
    assert inside(tmp_path / "vectors-a.sqlite") == ("", 1)


def test_a_store_of_which_nothing_would_be_left_goes_whole(tmp_path: Path) -> None:
    fill(tmp_path, "a", rows=100)

    keep_within(tmp_path, 20_000)

    assert contents(tmp_path) == []


def test_older_stores_go_before_a_row_of_a_large_one(tmp_path: Path) -> None:
    fill(tmp_path, "old", rows=500, used_s=1)
    large = fill(tmp_path, "large").stat().st_size

    keep_within(tmp_path, large - 1)

    assert names(tmp_path) == ["large"]
    assert 0 < inside(tmp_path / "vectors-large.sqlite")[1] < ROWS


def test_the_index_of_files_goes_last(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    os.utime(file, (1, 1))
    folder = tmp_path / "cache"
    index = StatIndex(folder)
    index.remember([(file, index.look([file])[0].stat, b"digest")])
    index.close()
    os.utime(folder / "files.sqlite", (1, 1))
    fill(folder, "a", rows=100)

    keep_within(folder, (folder / "files.sqlite").stat().st_size)
    first = names(folder)
    keep_within(folder, 0)

    assert first == ["files"]
    assert contents(folder) == []


def test_graphs_are_counted_and_go_with_their_data(tmp_path: Path) -> None:
    graphs = tmp_path / "graphs"
    (graphs / "c").mkdir(parents=True)
    for name, used_s in [("a.onnx", 1), ("a.onnx.data", 2), ("b.onnx", 3), ("c/d.onnx", 4)]:
        (graphs / name).write_bytes(b"x" * 100_000)
        os.utime(graphs / name, (used_s, used_s))
    os.utime(graphs / "c", (4, 4))
    folder_size = (graphs / "c").stat().st_size

    listed = contents(tmp_path)
    freed = keep_within(tmp_path, 250_000)

    assert listed == [
        CacheFile("graphs/a.onnx", "graph", 200_000, 2.0),
        CacheFile("graphs/b.onnx", "graph", 100_000, 3.0),
        CacheFile("graphs/c", "graph", 100_000 + folder_size, 4.0),
    ]
    assert freed == 200_000
    assert sorted(path.name for path in graphs.iterdir()) == ["b.onnx", "c"]
    keep_within(tmp_path, 0)
    assert list(graphs.iterdir()) == []


def test_the_limit_is_ten_gibibytes_or_as_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fill(tmp_path, "a", rows=100)
    monkeypatch.delenv("FEATX_CACHE_LIMIT", raising=False)

    assert cache_limit() == 10 * 2**30
    assert keep_within(tmp_path) == 0
    monkeypatch.setenv("FEATX_CACHE_LIMIT", "1.5 kB")
    assert cache_limit() == 1500
    assert keep_within(tmp_path) > 0
    monkeypatch.setenv("FEATX_CACHE_LIMIT", "lots")
    with pytest.raises(InputError, match="FEATX_CACHE_LIMIT='lots': expected a size such as 500MB"):
        cache_limit()


def test_a_cache_is_cleared_and_a_foreign_folder_is_not(tmp_path: Path) -> None:
    for folder in (tmp_path / "cache", tmp_path / "mine"):
        fill(folder, "a", rows=10)
        (folder / "verified.json").write_text("{}")
        (folder / "tuned.json").write_text("{}")
        (folder / "graphs").mkdir()
        (folder / "graphs" / "a.onnx").touch()
    foreign = tmp_path / "mine"
    (foreign / "thesis.sqlite").write_text("years of work")
    before = sorted(foreign.rglob("*"))

    clear(tmp_path / "cache")
    clear(tmp_path / "nothing there")
    with pytest.raises(StoreError, match=r"holds 'thesis\.sqlite', which is not featx's"):
        clear(foreign)

    assert not (tmp_path / "cache").exists()
    assert sorted(foreign.rglob("*")) == before
    assert keep_within(foreign, 0) > 0
    assert (foreign / "thesis.sqlite").exists()
