"""Some items of a source, chosen by id."""

from collections.abc import Collection, Iterator
from typing import Any

from featx.data.sources.options import DescribedSource
from featx.types import Item


class Chosen:
    """The items of `source` whose id is one of `ids`, in the order of the source."""

    def __init__(self, source: DescribedSource, ids: Collection[str]) -> None:
        self._source = source
        self._ids = ids

    def __iter__(self) -> Iterator[Item]:
        """Yield the items."""
        return (item for item in self._source if item.id in self._ids)

    def __len__(self) -> int:
        """Return the number of ids; some of them may be gone."""
        return len(self._ids)

    @property
    def skipped(self) -> int:
        """Files that the source passed over because of their suffix."""
        return self._source.skipped

    def describe(self) -> dict[str, Any]:
        """Describe the whole source."""
        return self._source.describe()
