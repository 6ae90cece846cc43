"""Speeds of backbones: in turns, whatever the cache holds, and no longer than there is time."""

import hashlib
from collections.abc import Iterator, Sequence
from itertools import chain, repeat

import numpy as np
import pytest

import comparing
from featx.data.sources import open_source
from featx.transfer.compare.contestant import Contestant
from featx.transfer.compare.embedder import Embedder
from featx.transfer.compare.pool import list_labelled
from featx.transfer.compare.speed import FEW, MOST_TIMED, items_per_s
from featx.types import Content

N = 300


class Cold(Sequence[Content]):
    """Rows that take long to get when they are first asked for, as files do that lie on a disk."""

    def __init__(self, rows: Sequence[Content], size_bytes: int = 0) -> None:
        self.rows = rows
        self.page = bytes(size_bytes)
        self.read: set[int] = set()
        self.asked: list[int] = []

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, part: slice) -> "Sequence[Content]":  # type: ignore[override]
        self.asked.append(len(self.rows[part]))
        return _Part(self, self.rows[part])


class _Part(Cold):
    def __init__(self, whole: Cold, rows: Sequence[Content]) -> None:
        super().__init__(rows)
        self.whole = whole

    def __iter__(self) -> Iterator[Content]:
        for number, row in enumerate(self.rows):
            if number not in self.whole.read:
                hashlib.sha256(self.whole.page).digest()
                self.whole.read.add(number)
            yield row


@pytest.fixture
def rows() -> list[Content]:
    return list(comparing.items(N)[0])


@pytest.fixture(scope="module")
def raced(tmp_path_factory: pytest.TempPathFactory) -> list[Contestant]:
    """Give two backbones that do the same, after a race that embedded all items."""
    folder = tmp_path_factory.mktemp("raced")
    source = open_source(comparing.save_items(folder / "x.npz", N), modality="array")
    backbones = [
        comparing.backbone(comparing.seeing(folder, name, range(8))) for name in ("first", "second")
    ]
    found, ids = list(map(Contestant, backbones)), list_labelled(source).ids
    (group,) = Embedder(source, folder / "sets", cache=None).groups(found, ids)
    assert group.embed(ids)
    return found


def test_all_are_timed_in_turns_on_the_same_items(
    raced: list[Contestant], rows: list[Content]
) -> None:
    contents = Cold(rows)

    found = items_per_s(raced, lambda: contents)

    few, many = contents.asked[2], contents.asked[4]
    assert contents.asked == [1, 1, few, few, *[many] * 4]
    assert FEW <= few <= many <= MOST_TIMED
    assert min(found) > many


def test_the_first_backbone_does_not_pay_for_reading_what_the_second_finds_in_memory(
    raced: list[Contestant], rows: list[Content]
) -> None:
    contents = Cold(rows, size_bytes=2 << 20)

    first, second = items_per_s(raced, lambda: contents)

    assert 1 / 4 < first / second < 4
    assert contents.read == set(range(max(contents.asked)))


def test_without_time_nothing_is_timed_and_no_item_is_read(raced: list[Contestant]) -> None:
    def contents() -> list[Content]:
        raise AssertionError("read")

    assert items_per_s(raced, contents, left_s=lambda: 0.0) == [0, 0]


@pytest.mark.parametrize(("asks", "turns"), [(1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (8, 5)])
def test_once_time_is_over_no_backbone_is_asked(
    raced: list[Contestant], rows: list[Content], asks: int, turns: int
) -> None:
    contents = Cold(rows)
    left_s = chain(repeat(60.0, asks), repeat(0.0))

    assert items_per_s(raced, lambda: contents, left_s=lambda: next(left_s)) == [0, 0]
    assert len(contents.asked) == turns


def test_turns_are_planned_by_the_time_that_is_left(
    raced: list[Contestant], rows: list[Content]
) -> None:
    contents = Cold(rows)

    found = items_per_s(raced, lambda: contents, left_s=lambda: 1e-9)

    assert contents.asked == [1] * 8
    assert np.all(np.array(found) > 0)
