"""One process at a time has a download, also while another one is done with it."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from featx.errors import StoreError
from featx.onboard.fetch.kept import alone, drop, kept


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FEATX_CACHE_DIR", str(tmp_path / "cache"))
    return kept("a" * 64)


def test_one_at_a_time_has_a_download(place: Path) -> None:
    with (
        alone(place),
        pytest.raises(StoreError, match="another process is writing to it; wait for it to end"),
        alone(place),
    ):
        pass


@pytest.mark.parametrize("is_folder", [False, True])
def test_a_download_is_dropped_with_all_that_belongs_to_it(place: Path, is_folder: bool) -> None:
    with alone(place):
        (place / "x.whl" if is_folder else place).parent.mkdir(exist_ok=True)
        (place / "x.whl" if is_folder else place).write_bytes(b"raw")

    drop(place)
    drop(place)

    assert list(place.parent.iterdir()) == []


def test_a_download_that_another_process_has_is_left_to_that(place: Path) -> None:
    with alone(place):
        place.write_bytes(b"raw")
        drop(place)
        assert place.read_bytes() == b"raw"
        with pytest.raises(StoreError, match="another process is writing"), alone(place):
            pass
    drop(place)

    assert not place.exists()


def test_nobody_has_a_lock_that_was_deleted_meanwhile(place: Path) -> None:
    inside = list[int]()

    def take_and_drop(number: int) -> int:
        try:
            with alone(place):
                inside.append(number)
                most = len(inside)
                place.write_bytes(b"raw")
                inside.remove(number)
        except StoreError:
            return 0
        drop(place)
        return most

    with ThreadPoolExecutor(8) as pool:
        seen = set(pool.map(take_and_drop, range(3000)))

    assert seen == {0, 1}
