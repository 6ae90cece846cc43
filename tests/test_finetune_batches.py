"""Batches: every row once, little padding, and no graph for a handful of rows."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from featx.finetune.steps.batches import padded_lengths, plan_batches
from featx.types import Rows

LENGTHS = arrays.arrays(np.int64, st.integers(1, 200), elements=st.integers(1, 512))


@given(LENGTHS, st.integers(1, 40), st.integers(0, 9) | st.none())
def test_batches_hold_each_row_once_and_all_but_one_are_full(
    lengths: Rows, size: int, seed: int | None
) -> None:
    rows = np.flatnonzero(lengths % 3 != 0)
    rng = None if seed is None else np.random.default_rng(seed)

    batches = plan_batches(lengths, rows, size=size, rng=rng)

    held = np.concatenate([rows[:0], *(batch.rows for batch in batches)])
    np.testing.assert_array_equal(np.sort(held), rows)
    assert sum(len(batch.rows) != size for batch in batches) <= 1
    assert all(lengths[batch.rows].max() <= batch.length for batch in batches)


@given(LENGTHS)
def test_a_length_is_padded_by_a_third_at_most_and_never_above_the_longest(lengths: Rows) -> None:
    padded = padded_lengths(lengths)

    assert (padded >= lengths).all()
    assert padded.max() == lengths.max()
    long = lengths > 32
    assert (padded[long] <= 1.5 * lengths[long]).all()
    assert len(np.unique(padded)) <= 13


def test_rows_are_shuffled_from_epoch_to_epoch_and_the_same_with_the_same_seed() -> None:
    lengths = np.tile([5, 60], 50)

    def epochs(seed: int) -> list[list[int]]:
        rng = np.random.default_rng(seed)
        planned = [plan_batches(lengths, np.arange(100), size=8, rng=rng) for _ in range(2)]
        return [[row for batch in batches for row in batch.rows] for batches in planned]

    first, second = epochs(0)
    assert first != second
    assert epochs(0) == [first, second]
    assert epochs(1)[0] != first
