"""``featx cache`` shows, shrinks and clears the user-wide cache."""

import json
import os
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result

from featx.cli import main
from featx.cli.cache import readable_size
from featx.cli.options import Size
from featx.data.cache import contents
from featx.data.vectorcache import VectorCache


def featx(*argv: str, typed: str = "") -> Result:
    return CliRunner().invoke(main, list(argv), input=typed)


def filled_cache(folder: Path, *, stores: int = 3) -> list[int]:
    """Write stores, the oldest first, and return their sizes."""
    for number in range(stores):
        store = VectorCache(folder, fingerprint=f"{number:032x}", dim=4, name=f"model-{number}")
        keys = [bytes([number, i] * 16) for i in range(number + 1)]
        store.put(keys, np.ones((number + 1, 4), dtype=np.float32))
        store.close()
    for path in sorted(folder.glob("*.sqlite")):
        stamp = 1_700_000_000 + 3600 * int(path.stem[-2:], 16)
        os.utime(path, (stamp, stamp))
    return [file.size_bytes for file in contents(folder)]


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [("0", 0), ("17", 17), ("500MB", 500_000_000), ("10GiB", 10 * 2**30), ("1.5 kb", 1500)],
)
def test_a_size_is_decimal_or_binary(text: str, size_bytes: int) -> None:
    assert Size().convert(text, None, None) == size_bytes


@pytest.mark.parametrize("text", ["", "GB", "-1", "1XB", "5iB", "1e3"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="expected a size such as 500MB or 10GiB"):
        Size().convert(text, None, None)


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(999, "999 B"), (1000, "1.0 kB"), (999_999, "1.0 MB"), (10 * 2**30, "10.7 GB")],
)
def test_a_size_is_readable(size_bytes: int, text: str) -> None:
    assert readable_size(size_bytes) == text


def test_stats_of_an_absent_cache_are_zero_and_make_no_folder(tmp_path: Path) -> None:
    folder = tmp_path / "absent"

    result = featx("cache", "stats", "--cache-dir", str(folder), "--json")

    assert json.loads(result.stdout) == {
        "folder": str(folder),
        "size_bytes": 0,
        "limit_bytes": 10 * 2**30,
        "files": [],
    }
    assert not folder.exists()


def test_stats_add_up_and_follow_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = filled_cache(tmp_path)
    monkeypatch.setenv("FEATX_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("FEATX_CACHE_LIMIT", "2MB")

    stats = json.loads(featx("cache", "stats", "--json").stdout)
    lines = featx("cache", "stats").stdout.splitlines()

    assert stats["size_bytes"] == sum(sizes)
    assert stats["limit_bytes"] == 2_000_000
    assert stats["files"] == [
        {
            "name": f"vectors-{number:032x}.sqlite",
            "kind": "vectors",
            "size_bytes": sizes[number],
            "used_s": 1_700_000_000 + 3600 * number,
            "model": f"model-{number}",
            "vectors": number + 1,
        }
        for number in range(3)
    ]
    assert lines[0] == f"{tmp_path}: {readable_size(sum(sizes))} of 2.0 MB in 3 files"
    assert lines[1].split() == ["file", "model", "vectors", "size", "last", "used"]
    assert [line.split()[:3] for line in lines[2:]] == [
        [f"vectors-{number:032x}.sqlite", f"model-{number}", str(number + 1)] for number in range(3)
    ]


def test_stats_show_graphs_and_stores_of_unknown_backbones(tmp_path: Path) -> None:
    nameless = VectorCache(tmp_path, fingerprint="f", dim=1)
    nameless.put([b"key"], np.ones((1, 1), dtype=np.float32))
    nameless.close()
    (tmp_path / "graphs").mkdir()
    (tmp_path / "graphs" / "m.onnx").write_bytes(b"12345")
    os.utime(tmp_path / "graphs" / "m.onnx", (1, 1))

    argv = ("cache", "stats", "--cache-dir", str(tmp_path))
    graph, store = json.loads(featx(*argv, "--json").stdout)["files"]
    lines = featx(*argv).stdout.splitlines()

    assert graph == {
        "name": "graphs/m.onnx",
        "kind": "graph",
        "size_bytes": 5,
        "used_s": 1.0,
        "model": None,
        "vectors": None,
    }
    assert (store["name"], store["model"], store["vectors"]) == ("vectors-f.sqlite", "", 1)
    assert lines[2].split()[:5] == ["graphs/m.onnx", "-", "-", "5", "B"]
    assert lines[3].split()[:3] == ["vectors-f.sqlite", "-", "1"]


def test_gc_deletes_the_least_recently_used_store_first(tmp_path: Path) -> None:
    oldest, *kept = filled_cache(tmp_path)
    names = [file.name for file in contents(tmp_path)]

    argv = ("cache", "gc", "--limit", str(sum(kept)), "--cache-dir", str(tmp_path), "--json")
    result = json.loads(featx(*argv).stdout)

    assert result == {"folder": str(tmp_path), "freed_bytes": oldest, "size_bytes": sum(kept)}
    assert [file.name for file in contents(tmp_path)] == names[1:]


def test_gc_trims_one_large_store(tmp_path: Path) -> None:
    store = VectorCache(tmp_path, fingerprint="f", dim=1000)
    keys = [bytes([i] * 32) for i in range(100)]
    store.put(keys, np.ones((100, 1000), dtype=np.float32))
    store.close()

    argv = ("cache", "gc", "--limit", "200kB", "--cache-dir", str(tmp_path), "--json")
    result = json.loads(featx(*argv).stdout)

    assert result["freed_bytes"] > 200_000
    assert 100_000 < result["size_bytes"] <= 200_000
    assert result["size_bytes"] == contents(tmp_path)[0].size_bytes


def test_gc_follows_the_limit_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    total = sum(filled_cache(tmp_path))
    monkeypatch.setenv("FEATX_CACHE_LIMIT", "0")

    result = json.loads(featx("cache", "gc", "--cache-dir", str(tmp_path), "--json").stdout)

    assert result == {"folder": str(tmp_path), "freed_bytes": total, "size_bytes": 0}


def test_a_wrong_limit_in_the_environment_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEATX_CACHE_LIMIT", "lots")

    result = featx("cache", "stats", "--cache-dir", str(tmp_path))

    assert result.exit_code == 1
    assert "FEATX_CACHE_LIMIT='lots': expected a size such as 500MB or 10GiB" in result.stderr


def test_gc_within_the_limit_deletes_nothing(tmp_path: Path) -> None:
    total = sum(filled_cache(tmp_path))

    result = featx("cache", "gc", "--cache-dir", str(tmp_path))

    assert result.stdout == f"{tmp_path}: 0 B freed, {readable_size(total)} left\n"


def test_gc_of_a_wrong_limit_is_a_usage_error(tmp_path: Path) -> None:
    result = featx("cache", "gc", "--limit", "much", "--cache-dir", str(tmp_path))

    assert result.exit_code == 2
    assert "'much': expected a size such as 500MB or 10GiB" in result.stderr


def test_clear_asks_and_takes_no_for_an_answer(tmp_path: Path) -> None:
    sizes = filled_cache(tmp_path)

    result = featx("cache", "clear", "--cache-dir", str(tmp_path), typed="n\n")

    assert result.exit_code == 1
    assert result.stdout == ""
    assert [file.size_bytes for file in contents(tmp_path)] == sizes


@pytest.mark.parametrize(("options", "typed"), [(["--yes"], ""), ([], "y\n")])
def test_clear_deletes_the_whole_cache(tmp_path: Path, options: list[str], typed: str) -> None:
    folder = tmp_path / "cache"
    total = sum(filled_cache(folder))

    argv = ("cache", "clear", "--cache-dir", str(folder), "--json", *options)
    result = featx(*argv, typed=typed)

    expected = {"folder": str(folder), "freed_bytes": total, "size_bytes": 0}
    assert json.loads(result.stdout) == expected
    assert not folder.exists()


def test_clear_leaves_a_folder_that_holds_other_files(tmp_path: Path) -> None:
    filled_cache(tmp_path)
    (tmp_path / "thesis.txt").write_text("five years")

    result = featx("cache", "clear", "--yes", "--cache-dir", str(tmp_path))

    assert result.exit_code == 1
    assert "holds 'thesis.txt', which is not featx's; nothing was deleted" in result.stderr
    assert (tmp_path / "thesis.txt").read_text() == "five years"
