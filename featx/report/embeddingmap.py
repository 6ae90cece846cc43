"""The map of a page: items that are alike lie near each other, in colours that tell of them."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from featx.report import plot
from featx.report.elements import block, section, short
from featx.report.itemcards import Items
from featx.report.places import Places
from featx.report.words import percent
from featx.types import Rows

MARKERS = ("circle", "square", "triangle", "diamond", "inverted_triangle")

MOST_GROUPS = len(plot.SERIES) * len(MARKERS)
"""Colours and shapes tell so many groups apart; the smallest ones share the last."""

_HEIGHT = 520

# Points of so many items cover each other if they are any larger.
_MANY = 2_000

Codes = NDArray[np.int64]


class Group(NamedTuple):
    """Items of one colour: their name, the name of the colour, and the shape."""

    name: str
    colour: plot.Colour
    marker: str = "circle"


@dataclass(frozen=True, slots=True)
class Colouring:
    """One way to colour the items: a group for each."""

    name: str
    groups: Sequence[Group]
    codes: Codes


def strangeness(distances: NDArray[np.float64], threshold: float, rows: Rows) -> Colouring:
    """Return how unlike the others items are.

    Parameters
    ----------
    distances : ndarray of float64, shape (N,)
        NaN where nothing is known.
    threshold : float
        Items beyond it are flagged.
    rows : ndarray of int64, shape (K,)
        Those to colour.
    """
    known = distances[np.isfinite(distances)]
    far = min(threshold, float(np.quantile(known, 0.8))) if len(known) else threshold
    own = distances[rows]
    codes = np.where(own > threshold, 2, np.where(own > far, 1, 0))
    groups = [
        Group("like most", "edge"),
        Group("unusual: the farthest fifth", "series-4", "triangle"),
        Group("unlike anything: flagged", "bad", "diamond"),
    ]
    return Colouring("novelty", groups, codes)


def colourings_of(items: Items, rows: Rows) -> Iterator[Colouring]:
    """Yield the colourings by label, by error and by split, as far as there are any."""
    labels = items.labels[rows]
    if (labels >= 0).any():
        yield _by_name("label", [*items.names], labels, none="no label")
    guesses = items.guesses[rows]
    if (guesses >= 0).any():
        codes = np.where(guesses < 0, 0, np.where(guesses == labels, 1, 2))
        groups = [
            Group("not judged", "edge"),
            Group("right", "same"),
            Group("wrong", "other", "diamond"),
        ]
        yield Colouring("error", groups, codes)
    splits = items.embedding_set.items.column("split").take(rows).to_pylist()
    names = sorted({split for split in splits if split})
    if names:
        codes = np.array([names.index(split) if split else -1 for split in splits])
        yield _by_name("split", names, codes, none="no split")


def map_section(
    items: Items, places: Places, rows: Rows, colourings: Sequence[Colouring], sampled: str
) -> str:
    """Return the section of the map.

    Parameters
    ----------
    items : Items
    places : Places
    rows : ndarray of int64
        To show, in the order in which the scripts know them.
    colourings : sequence of Colouring
        Of these rows.
    sampled : str
        A sentence on which items are shown; empty where all are.
    """
    is_drawn = np.isfinite(places.xy[rows, 0])
    documents = [_used(colouring, is_drawn) for colouring in colourings]
    return section(
        "map",
        "The map",
        f"{_method(places)} Point at an item, or press it, to see what it is. {sampled}".strip(),
        _choices(colourings),
        plot.block(_drawn(places.xy[rows], items.embedding_set.path.name)),
        '<ul id="legend" aria-label="Groups: press one to see it alone"></ul>\n'
        '<div id="picked" class="cards" aria-live="polite"></div>\n'
        '<div id="preview" class="card" hidden></div>\n',
        block("map-data", {"colourings": documents}),
    )


def _method(places: Places) -> str:
    if places.method == "umap":
        return (
            "UMAP: items that are alike lie near each other; distances between groups say little."
        )
    share = percent(places.share or 0.0)
    return f"The two directions in which the embeddings differ most: {share} of their variance."


def _choices(colourings: Sequence[Colouring]) -> str:
    each = "".join(
        f'<label><input type="radio" name="colouring" value="{at}"{" checked" * (at == 0)}>'
        f"{escape(colouring.name)}</label>\n"
        for at, colouring in enumerate(colourings)
    )
    return f'<fieldset id="colourings"><legend>Colour by</legend>\n{each}</fieldset>\n'


def _by_name(name: str, names: Sequence[str], codes: Codes, *, none: str) -> Colouring:
    """Return a colouring by names, the most frequent first; -1 stands for none."""
    counts = Counter(codes.tolist())
    has_none = counts.pop(-1, 0) > 0
    order = [code for code, _ in counts.most_common()]
    shown = order if len(order) <= MOST_GROUPS else order[: MOST_GROUPS - 1]
    groups = [
        Group(
            short(names[code], 60),
            plot.SERIES[at % len(plot.SERIES)],
            MARKERS[at // len(plot.SERIES)],
        )
        for at, code in enumerate(shown)
    ]
    if len(shown) < len(order):
        groups.append(Group(f"{len(order) - len(shown):,} more", "quiet"))
    if has_none:
        groups.append(Group(none, "edge"))
    position = {code: min(at, len(shown)) for at, code in enumerate(order)}
    position[-1] = len(groups) - 1
    return Colouring(name, groups, np.array([position[code] for code in codes.tolist()]))


def _used(colouring: Colouring, is_drawn: NDArray[np.bool_]) -> dict[str, Any]:
    """Return a colouring without groups that no item on the map is in, as JSON values."""
    counts = np.bincount(colouring.codes[is_drawn], minlength=len(colouring.groups))
    kept = np.flatnonzero(counts)
    codes = np.where(is_drawn, colouring.codes, kept[0])  # what is not drawn has any
    groups = [
        colouring.groups[code]._asdict() | {"count": int(counts[code])} for code in kept.tolist()
    ]
    return {"groups": groups, "codes": np.searchsorted(kept, codes).tolist()}


def _drawn(xy: NDArray[np.float32], name: str) -> plot.Drawing:
    from bokeh import models

    n = len(xy)
    tools = [
        models.PanTool(),
        models.BoxZoomTool(match_aspect=True),
        models.WheelZoomTool(),
        models.ResetTool(),
    ]
    drawn = plot.figure(
        label=f"Map of {n:,} items of {name}. Items that matter are listed in the sections below.",
        height=_HEIGHT,
        toolbar=True,
        tools=tools,
        active_drag=None,
        active_scroll=None,
        match_aspect=True,
    )
    drawn.figure.axis.visible = False
    drawn.figure.grid.visible = False
    alpha, size = (0.85, 8) if n <= _MANY else (0.65, 5)
    points = models.ColumnDataSource(
        {
            "x": xy[:, 0],
            "y": xy[:, 1],
            "colour": ["gray"] * n,
            "marker": ["circle"] * n,
            "alpha": np.full(n, alpha, np.float32),
        },
        name="points",
    )
    dots = drawn.figure.scatter(
        "x",
        "y",
        source=points,
        size=size,
        marker="marker",
        fill_color="colour",
        fill_alpha="alpha",
        line_color=None,
    )
    # What is pressed gets a ring; the others stay as they are.
    dots.nonselection_glyph = dots.selection_glyph = None
    ring = models.ColumnDataSource({"x": [], "y": []}, name="ring")
    chosen = drawn.figure.scatter(
        "x", "y", source=ring, size=size + 9, fill_color=None, line_width=2.5
    )
    plot.themed(chosen.glyph, line_color="ink")
    drawn.figure.add_tools(models.HoverTool(renderers=[dots], tooltips=None, visible=False))
    drawn.figure.add_tools(models.TapTool(renderers=[dots], visible=False))
    return drawn
