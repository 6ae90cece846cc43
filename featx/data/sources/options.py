"""What every source is opened with."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol, runtime_checkable

from featx.data.sources.columns import Columns
from featx.modality import MODALITIES
from featx.registry import resolve
from featx.types import Item


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What every source is opened with.

    Attributes
    ----------
    modality : str
        A name of `featx.modality.MODALITIES`.
    columns : Columns
        For tables.
    labels_from_folders : bool
        Whether the first folder below the root is the label.
    names_contents : bool
        Whether cells of parquet files, and parts of tars at a URL, are only named when the items
        are listed, and read by whoever embeds them, on another machine perhaps; no fact of the
        source.
    """

    modality: str
    columns: Columns = field(default_factory=Columns)
    labels_from_folders: bool = True
    names_contents: bool = False

    @property
    def suffixes(self) -> frozenset[str]:
        """File suffixes of the modality, lower-case, with the dot."""
        suffixes: frozenset[str] = resolve("modality", MODALITIES, self.modality).suffixes
        return suffixes

    def facts(self) -> dict[str, Any]:
        """Return the options as JSON values."""
        facts = asdict(self)
        del facts["names_contents"]
        return facts


class DescribedSource(Protocol):
    """A source that can say what it is, so that it can be opened again."""

    @property
    def skipped(self) -> int:
        """Files that were passed over because of their suffix; 0 for what is not a folder."""
        ...

    def __iter__(self) -> Iterator[Item]:
        """Yield the items in order."""
        ...

    def __len__(self) -> int:
        """Return the number of items; cheap after the first call."""
        ...

    def describe(self) -> dict[str, Any]:
        """Return JSON values: kind, paths, modality, columns, labels_from_folders."""
        ...


@runtime_checkable
class SkipsFiles(Protocol):
    """A source that passes files over because of their suffix."""

    @property
    def skipped_suffixes(self) -> Counter[str]:
        """Suffix → files passed over."""
        ...
