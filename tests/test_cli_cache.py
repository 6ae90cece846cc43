"""``featx cache`` shows, shrinks and clears the user-wide cache."""

import json
import os
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result

from featx.cli import main
from featx.cli.cache import Size, readable_size
from featx.data.cache import VectorCache, contents


def featx(*argv: str, typed: str = "") -> Result:
    return CliRunner().invoke(main, list(argv), input=typed)


def filled_cache(folder: Path, *, stores: int = 3) -> list[int]:
    """Write stores, the oldest first, and return their sizes."""
    for number in range(stores):
        store = VectorCache(folder, fingerprint=f"{number:032x}", dim=4)
        store.put([bytes([number] * 32)], np.ones((1, 4), dtype=np.float32))
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

    assert json.loads(result.stdout) == {"folder": str(folder), "size_bytes": 0, "files": []}
    assert not folder.exists()


def test_stats_add_up_and_follow_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = filled_cache(tmp_path)
    monkeypatch.setenv("FEATX_CACHE_DIR", str(tmp_path))

    stats = json.loads(featx("cache", "stats", "--json").stdout)
    lines = featx("cache", "stats").stdout.splitlines()

    assert stats["size_bytes"] == sum(sizes)
    assert [file["size_bytes"] for file in stats["files"]] == sizes
    assert lines[0] == f"{tmp_path}: {readable_size(sum(sizes))} in 3 files"
    assert [line.split()[0] for line in lines[2:]] == [file["name"] for file in stats["files"]]


def test_gc_deletes_the_least_recently_written_store_first(tmp_path: Path) -> None:
    oldest, *kept = filled_cache(tmp_path)
    names = [file.name for file in contents(tmp_path)]

    argv = ("cache", "gc", "--limit", str(sum(kept)), "--cache-dir", str(tmp_path), "--json")
    result = json.loads(featx(*argv).stdout)

    assert result == {"folder": str(tmp_path), "freed_bytes": oldest, "size_bytes": sum(kept)}
    assert [file.name for file in contents(tmp_path)] == names[1:]


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
