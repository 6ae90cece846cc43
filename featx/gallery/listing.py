"""Listing: the items of a gallery page by page, of a label or a split, or with a text in them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from featx.gallery.base import Mask
from featx.gallery.items import Column, ItemFacts, to_column
from featx.gallery.snapshot import Snapshot
from featx.types import Rows

SEARCHED = ("id", "preview")
"""What a text is looked for in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some items of a gallery.

    Attributes
    ----------
    items : list of (str, ItemFacts)
        Id and facts, by row; those of the parts without their thumbnail.
    next : int or None
        Row after which the next page begins; None where this is the last one.
    total : int
        Items of all pages.
    """

    items: list[tuple[str, ItemFacts]]
    next: int | None
    total: int


def listed(
    snapshot: Snapshot,
    *,
    label: str | None = None,
    split: str | None = None,
    text: str = "",
    after: int = -1,
    limit: int,
) -> Page:
    """Return a page of items, by row; with a text every id and preview is read.

    Parameters
    ----------
    snapshot : Snapshot
    label, split : str, optional
        Only items that have it.
    text : str
        Only items with this in their id or preview, in upper or lower case.
    after : int
        The page begins after this row, of the same generation of the gallery.
    limit : int
        Most items of the page.

    Raises
    ------
    UnknownNameError
        If no item ever had that label or split.
    StoreError
        If a file of the gallery is damaged.
    """
    rows = snapshot.rows_with(label=label, split=split)
    if text:
        rows = rows[_holding(snapshot, text)[rows]]
    start = int(rows.searchsorted(after, side="right"))
    chosen = rows[start : start + limit].tolist()
    is_last = start + limit >= len(rows)
    items = [snapshot.item(row) for row in chosen]
    return Page(items=items, next=None if is_last else chosen[-1], total=len(rows))


def _holding(snapshot: Snapshot, text: str) -> Mask:
    """Return which rows hold a text, those that were removed too."""
    base, recent = snapshot.base, snapshot.recent
    masks = [np.empty(0, np.bool_)]
    masks += [
        _matches([batch.column(name) for name in SEARCHED], text)
        for part in range(len(base.tables))
        for batch in base.batches(part)
    ]
    ids, facts = recent.store.ids[: recent.count], recent.store.facts[: recent.count]
    previews = [each.preview for each in facts]
    masks.append(_matches([to_column(column, pa.string()) for column in (ids, previews)], text))
    return np.concatenate(masks)


def _matches(columns: Sequence[Column], text: str) -> Mask:
    """Return which rows hold a text in one of their columns."""
    from pyarrow import compute as pc  # 90 ms, where nobody may ask

    found = []
    for column in columns:
        matched: Column = pc.match_substring(column, text, ignore_case=True)
        found.append(pc.fill_null(matched, False).to_numpy(zero_copy_only=False))
    mask: Mask = np.logical_or.reduce(found)
    return mask


def labels_of(snapshot: Snapshot, rows: Rows) -> list[str | None]:
    """Return the label of each row, None where it has none."""
    names = [*snapshot.recent.store.labels, None]
    return [names[code] for code in snapshot.label_codes(rows).tolist()]
