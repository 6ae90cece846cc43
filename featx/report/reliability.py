"""Whether probabilities can be taken at their word: how sure against how often right."""

from dataclasses import dataclass

import numpy as np

from featx.evaluate.interval import wilson_interval
from featx.report import plot
from featx.report.elements import folded, section, table
from featx.report.judgement import Judgement
from featx.report.words import number

MOST_BINS = 10

LEAST_ITEMS = 20
"""Of a bin: a share of fewer says little."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """Items that the head is about equally sure of.

    Attributes
    ----------
    n : int
    sure : float
        Mean probability of what they were taken for.
    right : float
        Share that is right.
    interval : tuple of two floats
        Of that share, 95 %.
    """

    n: int
    sure: float
    right: float
    interval: tuple[float, float]


def bins_of(judgement: Judgement) -> list[Bin]:
    """Return the items in bins of equal size, the least sure first."""
    order = np.argsort(judgement.sure, kind="stable")
    n_bins = min(MOST_BINS, max(1, len(order) // LEAST_ITEMS))
    found = []
    for rows in np.array_split(order, n_bins):
        hits = int(judgement.hits[rows].sum())
        found.append(
            Bin(
                n=len(rows),
                sure=float(judgement.sure[rows].mean()),
                right=hits / len(rows),
                interval=wilson_interval(hits, len(rows)),
            )
        )
    return found


def reliability_section(judgement: Judgement) -> str:
    """Return the section of how far probabilities can be trusted."""
    found = bins_of(judgement)
    rows = [
        [number(each.sure), number(each.right), *map(number, each.interval), f"{each.n:,}"]
        for each in found
    ]
    header = ["mean probability", "share right", "95\u202f% from", "to", "items"]
    return section(
        "reliability",
        "How sure, how often right",
        "Each point is a group of items that the head is about equally sure of, with the 95\u202f% "
        "interval of how many are right. On the line, a probability means what it says; below it, "
        "the head is too sure.",
        plot.block(_drawn(found)),
        folded("The numbers", table(header, rows, caption="How sure, how often right")),
    )


def _drawn(found: list[Bin]) -> plot.Drawing:
    drawn = plot.figure(
        label=f"Share of right items against their probability, in {len(found)} groups. The "
        "numbers follow as a table.",
        x_label="probability",
        y_label="share right",
        height=360,
        x_range=(0, 1.02),
        y_range=(0, 1.02),
    )
    line = drawn.figure.line([0, 1], [0, 1], line_dash="dashed", line_width=1.5)
    plot.themed(line.glyph, line_color="edge")
    sure = [each.sure for each in found]
    low, high = zip(*(each.interval for each in found), strict=True)
    bars = drawn.figure.segment(sure, low, sure, high, line_width=3, line_alpha=0.4)
    plot.themed(bars.glyph, line_color="accent")
    dots = drawn.figure.scatter(sure, [each.right for each in found], size=9)
    plot.themed(dots.glyph, fill_color="accent", line_color="card")
    return drawn
