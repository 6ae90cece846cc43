"""Items that arguments name: texts that stand for themselves, and what files hold."""

from collections.abc import Collection, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from featx.types import Item

if TYPE_CHECKING:
    from featx.data.sources import DescribedSource
    from featx.data.sources.columns import Columns

_OURS = (".emb", ".knn", ".head", ".onnx")


class NamedItems:
    """Items that arguments name: texts that stand for themselves, then what files hold.

    Nothing is opened before the first item is asked for, or how many there are.

    Parameters
    ----------
    arguments : sequence of str
        For the modality ``text`` an argument that names no file is a text itself.
    modality : str
    columns : Columns or None
        Of tables.
    """

    def __init__(
        self, arguments: Sequence[str], modality: str, columns: "Columns | None" = None
    ) -> None:
        self.arguments = arguments
        self.modality = modality
        self.columns = columns

    def __iter__(self) -> Iterator[Item]:
        """Yield the items in order."""
        for text in self._texts:
            yield Item(id=text, content=text)
        if self._source is not None:
            yield from self._source

    def __len__(self) -> int:
        """Return the number of items; walks a folder or reads a table once."""
        return len(self._texts) + (0 if self._source is None else len(self._source))

    @cached_property
    def _texts(self) -> list[str]:
        is_text = self.modality == "text"
        return [each for each in self.arguments if is_text and each != "-" and not names_file(each)]

    @cached_property
    def _source(self) -> "DescribedSource | None":
        from featx.data.sources import open_source

        named = [argument for argument in self.arguments if argument not in self._texts]
        if not named:
            return None
        return open_source(named, modality=self.modality, columns=self.columns)


def names_file(argument: str, more_suffixes: Collection[str] = ()) -> bool:
    """Return whether an argument is a path, not a text; a misspelt ``mails.csv`` is a path."""
    from featx.data.places import is_url
    from featx.data.sources import SUFFIX_KINDS
    from featx.modality.text import Text

    try:
        if Path(argument).exists() or is_url(argument):
            return True
    except OSError:
        return False
    if any(character.isspace() for character in argument):
        return False
    suffixes = {*SUFFIX_KINDS, *Text.suffixes, *_OURS, *more_suffixes}
    is_suffix_known = Path(argument).suffix.lower() in suffixes
    looks_so = argument.startswith("@") or argument.endswith("/")
    return is_suffix_known or looks_so or any(mark in argument for mark in "*[")
