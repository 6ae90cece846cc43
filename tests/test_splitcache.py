"""Vectors side by side, each part in the cache of its own fingerprint."""

from pathlib import Path

import numpy as np

from featx.data.splitcache import SplitCache
from featx.data.vectorcache import VectorCache

X = np.arange(12, dtype=np.float32).reshape(3, 4)
DIGESTS = [bytes([n]) * 32 for n in range(3)]
FACTS = [{"preview": str(n)} for n in range(3)]


def opened(folder: Path) -> tuple[VectorCache, VectorCache, SplitCache]:
    left = VectorCache(folder, fingerprint="a" * 64, dim=1)
    right = VectorCache(folder, fingerprint="b" * 64, dim=3)
    return left, right, SplitCache([left, right], [slice(0, 1), slice(1, 4)])


def test_each_part_goes_to_its_own_cache(tmp_path: Path) -> None:
    left, right, both = opened(tmp_path)

    both.put(DIGESTS, X, FACTS)

    for part, columns in [(left, slice(0, 1)), (right, slice(1, 4))]:
        found = part.get_many(DIGESTS)
        assert [found[each][0].tolist() for each in DIGESTS] == X[:, columns].tolist()
        assert [found[each][1] for each in DIGESTS] == FACTS
    both.close()


def test_what_all_hold_comes_back_side_by_side(tmp_path: Path) -> None:
    left, right, both = opened(tmp_path)
    left.put(DIGESTS[:2], X[:2, :1], FACTS[:2])
    right.put(DIGESTS[1:], X[1:, 1:], FACTS[1:])

    found = both.get_many(DIGESTS)

    assert list(found) == DIGESTS[1:2]
    vector, facts = found[DIGESTS[1]]
    assert (vector.tolist(), facts) == (X[1].tolist(), FACTS[1])
    assert both.problem == ""
    both.close()


def test_a_part_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / f"vectors-{'b' * 32}.sqlite").mkdir()
    _, right, both = opened(tmp_path)

    both.put(DIGESTS, X)

    assert right.problem
    assert both.problem == right.problem
    assert both.get_many(DIGESTS) == {}
    both.close()
