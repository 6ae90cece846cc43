"""Batches that a window of waiting samples is cut into."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from featx.backbone.window import LEAST_FILL, Limits, Window, padded_cost
from featx.types import Sample


def sample(cost: int, parts: int = 1) -> Sample:
    return Sample(inputs={"x": np.zeros((parts, 1), dtype=np.float32)}, cost=cost)


samples_of = st.lists(st.builds(sample, st.integers(1, 50), st.integers(1, 6)), max_size=30)
limits_of = st.builds(Limits, st.integers(1, 200), st.integers(1, 10))


def drained(samples: list[Sample], limits: Limits) -> list[list[int]]:
    window = Window()
    for position, each in enumerate(samples):
        window.add(position, each)
    batches = []
    while window:
        batches.append(window.take(limits))
    return batches


@given(samples=samples_of, limits=limits_of)
def test_each_sample_is_in_one_batch_and_no_batch_is_over_its_limits(
    samples: list[Sample], limits: Limits
) -> None:
    batches = drained(samples, limits)

    assert sorted(i for batch in batches for i in batch) == list(range(len(samples)))
    for batch in batches:
        chosen = [samples[i] for i in batch]
        parts = sum(each.parts for each in chosen)
        assert len(batch) == 1 or (parts <= limits.parts and padded_cost(chosen) <= limits.budget)


@given(samples=samples_of, limits=limits_of)
def test_the_oldest_sample_is_always_in_the_next_batch(
    samples: list[Sample], limits: Limits
) -> None:
    waiting = set(range(len(samples)))

    for batch in drained(samples, limits):
        assert min(waiting) in batch
        waiting -= set(batch)


@given(samples=samples_of, limits=limits_of)
def test_no_part_is_padded_by_more_than_a_quarter(samples: list[Sample], limits: Limits) -> None:
    for batch in drained(samples, limits):
        costs = [samples[i].cost for i in batch]
        assert min(costs) >= LEAST_FILL * max(costs)


@given(samples=samples_of, limits=limits_of)
def test_a_batch_leaves_out_nothing_that_would_have_been_nearer(
    samples: list[Sample], limits: Limits
) -> None:
    waiting = set(range(len(samples)))

    for batch in drained(samples, limits):
        costs = [samples[i].cost for i in batch]
        left = [samples[i].cost for i in waiting - set(batch)]
        assert not any(min(costs) < cost < max(costs) for cost in left)
        waiting -= set(batch)


def test_similar_costs_share_a_batch() -> None:
    samples = [sample(cost) for cost in (20, 9, 21, 8, 19)]

    assert drained(samples, Limits(budget=63, parts=4)) == [[4, 0, 2], [3, 1]]


def test_halving_stops_at_one() -> None:
    assert Limits(budget=3, parts=1).halved() == Limits(budget=1, parts=1)
