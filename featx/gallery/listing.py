"""Listing: the items of a gallery page by page, and those with a text in them."""

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa

from featx.gallery.answers import Page
from featx.gallery.base import Base, Mask
from featx.gallery.held import Held
from featx.gallery.items import Column, ItemFacts, to_column
from featx.gallery.recent import Recent
from featx.types import Rows

SEARCHED = ("id", "preview")
"""What a text is looked for in."""


def page_of(
    rows: Rows, item: Callable[[int], tuple[str, ItemFacts]], *, after: int, limit: int
) -> Page:
    """Return the page of ascending `rows` that begins after a row; `item` tells what each is."""
    start = int(rows.searchsorted(after, side="right"))
    chosen = rows[start : start + limit].tolist()
    is_last = start + limit >= len(rows)
    items = [item(row) for row in chosen]
    return Page(items=items, next=None if is_last else chosen[-1], total=len(rows))


def holding(base: Base, recent: Recent, text: str) -> Mask:
    """Return which rows hold a text in any case, those that were removed too."""
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


def labels_of(held: Held, rows: Rows) -> list[str | None]:
    """Return the label of each row, None where it has none."""
    names = [*held.label_names, None]
    return [names[code] for code in held.label_codes(rows).tolist()]
