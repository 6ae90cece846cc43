"""The worst errors: items that a head is surest of, and wrong."""

from html import escape

import numpy as np

from featx.report.elements import section
from featx.report.itemcards import Items
from featx.report.judgement import Judgement
from featx.report.words import counted, percent
from featx.types import Rows

MOST = 24


def worst_rows(judgement: Judgement, most: int = MOST) -> Rows:
    """Return rows that are wrong, the surest first."""
    wrong = np.flatnonzero(~judgement.hits)
    return judgement.rows[wrong[np.argsort(-judgement.sure[wrong], kind="stable")]][:most]


def worst_section(items: Items, judgement: Judgement) -> str:
    """Return the section of the worst errors."""
    rows = worst_rows(judgement)
    wrong = int((~judgement.hits).sum())
    of = f"the first {len(rows)} of {wrong:,}" if wrong > len(rows) else counted(wrong, "error")
    return section(
        "errors",
        "Surest errors",
        f"Items that this head takes for another class than their label, {of}, the surest first. "
        "Often it is the label that is wrong.",
        items.cards(rows.tolist(), [_said(items, row) for row in rows.tolist()]),
    )


def _said(items: Items, row: int) -> str:
    guess = f"taken for {items.guess(row)}, {percent(items.sure[row])}"
    return (
        f'<span class="label">{escape(items.label(row))}</span> '
        f'<span class="wrong">{escape(guess)}</span>'
    )
