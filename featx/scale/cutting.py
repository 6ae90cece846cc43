"""Where a source is cut into units: at items that their ids choose.

An item that comes or goes changes the unit that it lies in; the next cut is where it was.
"""

from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np

from featx.data.sources.located import asked
from featx.scale.unit import References, Unit, facts_of, file_of, hashed, id_hash, key_of
from featx.types import Content, Item

LEAST_ITEMS, USUAL_ITEMS, MOST_ITEMS = 1024, 4096, 250_000
"""Items of a unit; a segment of a set holds a million rows, which is four times the most."""

FEW_UNITS, MANY_UNITS = 32, 1000
"""Units that a source is to have: enough for several workers, few enough for one manifest."""

LITTLE = 10
"""What a set holds is little if the source has so many times as much."""

UNIT_BYTES = 8 << 20
"""About as much content travels with a unit, where items hold theirs."""

LONGEST = 4
"""A unit is cut at the latest when it is so many times as long as usual."""


def unit_size(total: int) -> int:
    """Return how many items a unit should have, on average, of a source of `total` items.

    Examples
    --------
    >>> [unit_size(10**power) for power in (3, 5, 6, 8, 9)]
    [1024, 3125, 4096, 100000, 250000]
    """
    usual = min(USUAL_ITEMS, max(LEAST_ITEMS, total // FEW_UNITS))
    return max(usual, min(MOST_ITEMS, total // MANY_UNITS))


def grown(size: int, total: int, done: int) -> int:
    """Return the size of units of a set that was begun with `size`; another one seldom.

    With a larger one everything is embedded anew, which is right where nearly all is new.

    Parameters
    ----------
    size : int
    total : int
        Items of the source now.
    done : int
        Rows that the set holds.

    Examples
    --------
    >>> grown(1024, 10**8, 20_000), grown(1024, 10**6, 20_000), grown(4096, 10**8, 3 * 10**7)
    (100000, 1024, 4096)
    """
    is_small = LONGEST * MANY_UNITS * size < total
    return max(size, unit_size(total)) if is_small and done * LITTLE <= total else size


def cut(items: Iterable[Item], *, size: int, seed: str) -> Iterator[Unit]:
    """Yield the units of a source, in order.

    Parameters
    ----------
    items : iterable of Item
    size : int
        Items of a unit, on average; units with much content have fewer.
    seed : str
        What makes the vectors beside the contents; a part of every key.
    """
    references, keys = References(), Counter[str]()
    number = weight = 0
    held: list[Item] = []
    for item in asked(items):
        held.append(item)
        added = max(1, _size_bytes(item.content) * size // UNIT_BYTES)
        weight += added
        if _is_last(item, weight, added, size):
            yield _unit(number, held, references, seed, keys)
            number, weight, held = number + 1, 0, []
    if held:
        yield _unit(number, held, references, seed, keys)


def _is_last(item: Item, weight: int, added: int, size: int) -> bool:
    """Return whether a unit ends with an item: half the size at least, then by chance."""
    least = max(1, size // 2)
    if weight < least:
        return False
    return weight >= LONGEST * size or id_hash(item.id) % max(1, (size - least) // added) == 0


def _unit(
    number: int, items: list[Item], references: References, seed: str, keys: Counter[str]
) -> Unit:
    key, facts = key_of(items, references, seed), facts_of(items)
    keys[key] += 1
    if keys[key] > 1:  # of ids that were all there before
        key = hashed(f"{key} {keys[key]}".encode())
    return Unit(number, key, facts, items, file_of(items))


def _size_bytes(content: Content) -> int:
    """Return how much content an item holds itself."""
    if isinstance(content, np.ndarray):
        return int(content.nbytes)
    return len(content) if isinstance(content, str | bytes) else 0
