"""Items of a set on a page: as cards in the text, and as data for the scripts."""

from base64 import b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.data.store import EmbeddingSet
from featx.report.elements import block, json_text, short
from featx.report.judgement import Judgement
from featx.report.pictures import Pictures

TEXT_LENGTH = 160
"""Characters of a text that are shown."""

LENGTHS = (TEXT_LENGTH, 120, 80, 40, 20, 10)
"""Characters of what the scripts know of items: the first of which all fit into their budget."""

MOST_TOLD_BYTES = 2_000_000
"""Of texts, ids and names that the scripts know."""

# What a set keeps of an item that is no text is its format and size.
_TELLING = frozenset({"text", "array"})


@dataclass(frozen=True, kw_only=True)
class Items:
    """The items of a set, as a page shows them.

    Attributes
    ----------
    embedding_set : EmbeddingSet
    pictures : Pictures
    judgement : Judgement or None
        What a head took them for.
    """

    embedding_set: EmbeddingSet
    pictures: Pictures = field(default_factory=Pictures)
    judgement: Judgement | None = None

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the classes: those of the head first, then those that only labels have."""
        known = self.judgement.names if self.judgement else ()
        found = {label for label in self.embedding_set.y.tolist() if label is not None}
        return (*known, *sorted(found.difference(known)))

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """The code of each row's label, -1 where it has none, shape (N,)."""
        codes = {name: code for code, name in enumerate(self.names)}
        return np.array([codes.get(label, -1) for label in self.embedding_set.y.tolist()], np.int64)

    @cached_property
    def guesses(self) -> NDArray[np.int64]:
        """The code of what each row was taken for, -1 where it was not judged, shape (N,)."""
        guesses = np.full(len(self.embedding_set), -1)
        if self.judgement is not None:
            guesses[self.judgement.rows] = self.judgement.guesses
        return guesses

    @cached_property
    def sure(self) -> NDArray[np.float64]:
        """The probability of that, 0 where there is none, shape (N,)."""
        sure = np.zeros(len(self.embedding_set))
        if self.judgement is not None:
            sure[self.judgement.rows] = self.judgement.sure
        return sure

    @cached_property
    def _previews(self) -> list[str | None]:
        previews: list[str | None] = self.embedding_set.items.column("preview").to_pylist()
        return previews

    def text(self, row: int, length: int = TEXT_LENGTH) -> str:
        """Return some words that remind of an item; empty where its name says as much."""
        return short(self._previews[row] or "", length)

    def figure(self, row: int) -> str:
        """Return a picture of an item, or some words, as HTML."""
        picture = self.pictures.large.get(row)
        if picture is not None:
            data = b64encode(picture).decode("ascii")
            source = f"data:image/webp;base64,{data}"
            return f'<div class="picture"><img src="{source}" alt=""></div>'
        words = self.text(row)
        return f"<blockquote>{escape(words)}</blockquote>" if words else ""

    def label(self, row: int) -> str:
        """Return the label of an item, in words."""
        code = int(self.labels[row])
        return short(self.names[code]) if code >= 0 else "no label"

    def guess(self, row: int) -> str:
        """Return what an item that was judged was taken for."""
        return short(self.names[self.guesses[row]])

    def cards(self, rows: Iterable[int], said: Sequence[str]) -> str:
        """Return cards of items.

        Parameters
        ----------
        rows : iterable of int
        said : sequence of str
            What is said of each, as HTML.
        """
        ids = self.embedding_set.ids
        each = "".join(
            f'<li class="card">{self.figure(row)}\n<p class="said">{words}</p>\n'
            f'<p class="id">{escape(short(ids[row]))}</p></li>\n'
            for row, words in zip(rows, said, strict=True)
        )
        kind = "cards" if self.embedding_set.modality == "image" else "cards texts"
        return f'<ul class="{kind}">\n{each}</ul>\n'

    def block(self, rows: NDArray[np.int64]) -> str:
        """Return what the scripts of a page know of some items."""
        small = self.pictures.small
        told = (self._told(rows, length) for length in LENGTHS)
        document: dict[str, Any] = {
            **next(each for each in told if _fits(each)),
            "labels": self.labels[rows].tolist(),
            "guesses": self.guesses[rows].tolist(),
            "sure": self.sure[rows].round(4).tolist(),
            "pictures": [b64encode(small.get(row, b"")).decode("ascii") for row in rows],
        }
        return block("items", document)

    def _told(self, rows: NDArray[np.int64], length: int) -> dict[str, Any]:
        """Return names by the codes that occur, ids and texts, all cut to a length."""
        ids = self.embedding_set.ids
        codes = np.union1d(self.labels[rows], self.guesses[rows])
        return {
            "names": {int(code): short(self.names[code], length) for code in codes if code >= 0},
            "ids": [short(ids[row], length) for row in rows],
            "texts": [self.text(row, length) if self._is_told(row) else "" for row in rows],
        }

    def _is_told(self, row: int) -> bool:
        return self.embedding_set.modality in _TELLING or row not in self.pictures.small


def _fits(told: dict[str, Any]) -> bool:
    """Return whether texts are few enough bytes; the shortest always are."""
    size_bytes = len(json_text(told).encode("utf-8", "backslashreplace"))
    return size_bytes <= MOST_TOLD_BYTES
