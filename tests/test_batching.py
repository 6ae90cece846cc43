"""Batches of samples, against what a batch may hold."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from featx.backbone.batching import batches
from featx.types import Sample


def sample(cost: int, parts: int = 1) -> Sample:
    return Sample(inputs={"x": np.zeros((parts, 1), dtype=np.float32)}, cost=cost)


samples_of = st.lists(st.builds(sample, st.integers(1, 50), st.integers(1, 6)), max_size=30)


def oracle(samples: list[Sample], *, budget: int, largest: int) -> list[list[int]]:
    """Fill batches one after the other, counting from the start each time."""
    order = np.argsort([-s.cost for s in samples], kind="stable").tolist()
    result: list[list[int]] = []
    for i in order:
        grown = [*(result[-1] if result else []), i]
        parts = sum(samples[j].parts for j in grown)
        widest = max(samples[j].cost for j in grown)
        if len(grown) == 1 or parts > largest or parts * widest > budget:
            result.append([i])
        else:
            result[-1] = grown
    return result


@given(samples=samples_of, budget=st.integers(1, 200), largest=st.integers(1, 10))
def test_batches_are_those_of_a_plain_loop(
    samples: list[Sample], budget: int, largest: int
) -> None:
    found = list(batches(samples, budget=budget, largest=largest))

    assert found == oracle(samples, budget=budget, largest=largest)


@given(samples=samples_of, budget=st.integers(1, 200), largest=st.integers(1, 10))
def test_each_sample_is_in_one_batch_and_no_batch_is_over_its_limits(
    samples: list[Sample], budget: int, largest: int
) -> None:
    found = list(batches(samples, budget=budget, largest=largest))

    assert sorted(i for batch in found for i in batch) == list(range(len(samples)))
    for batch in found:
        parts = sum(samples[i].parts for i in batch)
        cost = parts * max(samples[i].cost for i in batch)
        assert len(batch) == 1 or (parts <= largest and cost <= budget)


def test_similar_costs_share_a_batch() -> None:
    samples = [sample(cost) for cost in (2, 9, 3, 8)]

    assert list(batches(samples, budget=18, largest=4)) == [[1, 3], [2, 0]]
