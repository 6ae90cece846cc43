"""A part of a source: its first items, or one shard of several that machines share."""

import re
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any

from featx.data.sources.options import DescribedSource, SkipsFiles
from featx.errors import InputError
from featx.types import Item

Shard = tuple[int, int]
"""Which shard, from 1, and of how many."""


class Part:
    """A block of the items of a source, in their order; what lies before it is only listed.

    Parameters
    ----------
    source : DescribedSource
    limit : int or None
        The most items, counted within the shard.
    shard : (int, int) or None
        Shard i of n is the items ``(i - 1) * N // n`` to ``i * N // n`` of N.
    """

    def __init__(self, source: DescribedSource, limit: int | None, shard: Shard | None) -> None:
        self.source = source
        self.limit = limit
        self.shard = shard

    def __iter__(self) -> Iterator[Item]:
        """Yield the items of the block."""
        start, stop = self._bounds()
        return islice(iter(self.source), start, stop)

    def __len__(self) -> int:
        """Return the number of items; 0 for a shard of a source with fewer items than shards."""
        start, stop = self._bounds()
        return max(0, (len(self.source) if stop is None else min(stop, len(self.source))) - start)

    @property
    def skipped(self) -> int:
        """Files that the whole source passed over because of their suffix."""
        return self.source.skipped

    @property
    def skipped_suffixes(self) -> Counter[str]:
        """Suffix → files that the whole source passed over because of it."""
        source = self.source
        return source.skipped_suffixes if isinstance(source, SkipsFiles) else Counter()

    def describe(self) -> dict[str, Any]:
        """Return what `featx.data.sources.open_description` needs to open it again."""
        shard = f"{self.shard[0]}/{self.shard[1]}" if self.shard else None
        return {**self.source.describe(), "shard": shard, "limit": self.limit}

    def _bounds(self) -> tuple[int, int | None]:
        """Return the first row of the block and the one after its last, None for no end."""
        if self.shard is None:
            return 0, self.limit
        (number, count), total = self.shard, len(self.source)
        start, stop = (number - 1) * total // count, number * total // count
        return start, stop if self.limit is None else min(stop, start + self.limit)


def part(
    source: DescribedSource, *, limit: int | None = None, shard: Shard | None = None
) -> DescribedSource:
    """Return a part of a source, or the source itself where neither is given.

    Parameters
    ----------
    source : DescribedSource
    limit : int, optional
        The most items, at least 1; counted within the shard.
    shard : (int, int), optional
        Which shard, from 1, and of how many; see `parse_shard`.

    Raises
    ------
    InputError
        If `limit` or `shard` is out of range, or `source` is a part already.
    """
    if limit is None and shard is None:
        return source
    if isinstance(source, Part):
        raise InputError("a part of a part cannot be described; give limit and shard at once")
    if limit is not None and limit < 1:
        raise InputError(f"limit {limit}: at least 1 item is needed")
    if shard is not None and not 1 <= shard[0] <= shard[1]:
        given = f"shard {shard[0]}/{shard[1]}"
        raise InputError(f"{given}: shards are counted from 1/{max(1, shard[1])}")
    return Part(source, limit, shard)


def parse_shard(text: str) -> Shard:
    """Return which shard of how many a text like ``2/4`` names.

    Raises
    ------
    InputError
        If it is no such text, or the shard is none of them.

    Examples
    --------
    >>> parse_shard("2/4")
    (2, 4)
    """
    found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text.strip())
    if found is None:
        raise InputError(f"shard {text!r}: expected which of how many, from 1/4 to 4/4")
    number, count = int(found[1]), int(found[2])
    if not 1 <= number <= count:
        allowed = f"{count} shards go from 1/{count} to {count}/{count}" if count else "at least 1"
        raise InputError(f"shard {text!r}: out of range; {allowed}")
    return number, count
