"""Cut samples into batches of similar cost, so that little is wasted on padding."""

from collections.abc import Iterator, Sequence

from featx.types import Sample


def batches(samples: Sequence[Sample], *, budget: int, largest: int) -> Iterator[list[int]]:
    """Yield positions of samples, the costly ones first, until each is in one batch.

    Parameters
    ----------
    samples : sequence of Sample
    budget : int
        Most cost a batch may have once every part is padded to the costliest.
    largest : int
        Most parts a batch may have.  A sample over the limits gets a batch of its own.

    Examples
    --------
    >>> import numpy as np
    >>> texts = [Sample(inputs={"x": np.zeros((1, n))}, cost=n) for n in (2, 9, 3, 8)]
    >>> list(batches(texts, budget=18, largest=4))
    [[1, 3], [2, 0]]
    """
    order = sorted(range(len(samples)), key=lambda i: -samples[i].cost)
    batch: list[int] = []
    parts = 0
    for position in order:
        added = samples[position].parts
        widest = samples[batch[0]].cost if batch else samples[position].cost
        if batch and (widest * (parts + added) > budget or parts + added > largest):
            yield batch
            batch, parts = [], 0
        batch.append(position)
        parts += added
    if batch:
        yield batch
