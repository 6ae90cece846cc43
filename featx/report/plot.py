"""Plots, drawn by Bokeh (https://bokeh.org), light or dark as the page is.

The library is imported when the first plot is drawn.  Its script goes into the page once; it asks
for nothing from elsewhere, and needs no code made of text, which the policy of a page forbids.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from math import ceil, floor, log10
from typing import TYPE_CHECKING, Any, Literal, get_args

from featx.report.elements import json_text, short
from featx.report.page import own_file

if TYPE_CHECKING:
    from bokeh.model import Model
    from bokeh.plotting import figure as Figure  # noqa: N812 - a class, though it has a small name

Colour = Literal[
    "ink", "quiet", "line", "paper", "card", "edge", "accent", "same", "other", "bad",
    "series-0", "series-1", "series-2", "series-3", "series-4", "series-5", "series-6", "series-7",
]  # fmt: skip
"""Names of colours of ``page.css``; each is another one where the page is dark."""

SERIES: tuple[Colour, ...] = tuple(each for each in get_args(Colour) if each.startswith("series-"))
"""Colours that tell things apart."""

_SHOWN_NAME = 40
_FONT = "system-ui, -apple-system, Segoe UI, Noto Sans, sans-serif"
_FONT_SIZE = "13px"

# Of a logarithmic axis, until there are enough ticks.
_MANTISSAS = ((1, 2, 5), (1, 1.5, 2, 3, 5, 7), tuple(n / 10 for n in range(10, 100)))
_LEAST_TICKS = 3

# Of an axis of shares: what is shown at least, and parts of that which are left as room.
_LEAST_SPAN, _ROOM, _HAIR = 0.02, 0.1, 0.03


@dataclass(frozen=True, slots=True)
class Drawing:
    """A plot and what it says to those who do not see it.

    Attributes
    ----------
    figure : bokeh.plotting.figure
        To draw on.
    label : str
    """

    figure: "Figure"
    label: str


def figure(
    *,
    label: str,
    x_label: str = "",
    y_label: str = "",
    height: int = 320,
    toolbar: bool = False,
    **options: Any,  # noqa: ANN401 - as Bokeh has them
) -> Drawing:
    """Return an empty plot as wide as the page, with axes in the colours of the page.

    Further options are those of `bokeh.plotting.figure`; a logarithmic axis needs its ``x_range``.

    Parameters
    ----------
    label : str
        What the plot shows, in plain text.
    x_label, y_label : str, optional
    height : int, default 320
        In pixels.
    toolbar : bool, default False
        Whether to show the buttons of the tools.
    """
    from bokeh.models import BasicTickFormatter, FixedTicker, NoOverlap
    from bokeh.plotting import figure as new_figure

    made = new_figure(
        **{
            "height": height,
            "sizing_mode": "stretch_width",
            "tools": "",
            # Above the plot a phone has no room for all of its buttons.
            "toolbar_location": "right" if toolbar else None,
            "x_axis_label": x_label or None,
            "y_axis_label": y_label or None,
            "background_fill_color": None,
            "border_fill_color": None,
            "outline_line_color": None,
            "lod_threshold": None,
            **options,
        }
    )
    made.toolbar.logo = None
    if options.get("x_axis_type") == "log":
        made.xaxis[0].ticker = FixedTicker(ticks=log_ticks(*options["x_range"]))
        made.xaxis[0].formatter = BasicTickFormatter(use_scientific=False)
    for axis in made.axis:
        axis.axis_label_text_font = axis.major_label_text_font = _FONT
        axis.axis_label_text_font_size = axis.major_label_text_font_size = _FONT_SIZE
        axis.axis_label_text_font_style = "normal"
        axis.minor_tick_line_color = None
        axis.major_label_policy = NoOverlap()  # on a phone there is room for fewer
        themed(axis, axis_label_text_color="quiet", major_label_text_color="quiet")
        themed(axis, axis_line_color="line", major_tick_line_color="line")
    for grid in made.grid:
        themed(grid, grid_line_color="line")
    return Drawing(made, label)


def log_ticks(low: float, high: float) -> list[float]:
    """Return round numbers for a logarithmic axis from `low` to `high`: three or more.

    Examples
    --------
    >>> log_ticks(4, 110), log_ticks(15, 47)
    ([5.0, 10.0, 20.0, 50.0, 100.0], [15.0, 20.0, 30.0])
    """
    found: list[float] = []
    for mantissas in _MANTISSAS:
        powers = range(floor(log10(low)), ceil(log10(high)) + 1)
        each = [mantissa * 10.0**power for power in powers for mantissa in mantissas]
        found = [round(tick, 9) for tick in each if low <= tick <= high]
        if len(found) >= _LEAST_TICKS:
            break
    return found


def share_range(ends: Iterable[float]) -> tuple[float, float]:
    """Return where an axis of shares begins and ends: with some room, but none beyond 0 and 1.

    Of the room a hair is left, so that a dot on the edge is whole.

    Examples
    --------
    >>> [round(end, 3) for end in share_range([0.4, 0.8])]
    [0.36, 0.84]
    >>> [round(end, 3) for end in share_range([0.9, 1.0])]
    [0.89, 1.003]
    >>> [round(end, 3) for end in share_range([1.0])]
    [0.998, 1.001]
    """
    known = list(ends)
    span = max(max(known) - min(known), _LEAST_SPAN)
    room, hair = _ROOM * span, _HAIR * span
    return max(min(known) - room, -hair), min(max(known) + room, 1 + hair)


def themed(model: "Model", **colours: Colour) -> None:
    """Give properties of a model colours of the page; they follow when it turns dark or light.

    A property is given the name of its colour: ``themed(glyph, fill_color="accent")``.

    Parameters
    ----------
    model : bokeh.model.Model
        Such as a glyph, an axis or an annotation.
    """
    model.tags = [*model.tags, *(f"{name}={colour}" for name, colour in colours.items())]


def seen_on(model: "Model", screen: Literal["wide", "narrow"]) -> None:
    """Show a model, such as a renderer, on screens of one kind alone: a phone is narrow."""
    model.tags = [*model.tags, f"visible={screen}"]


def block(drawing: Drawing) -> str:
    """Return a plot as HTML; it is drawn by the scripts of `scripts`."""
    from bokeh.embed import json_item

    item: Any = json_item(drawing.figure)
    height = drawing.figure.height
    return (
        f'<figure class="plot" aria-label="{escape(drawing.label)}">\n'
        f'<div style="height:{height}px"></div>\n'
        f'<script type="application/json">{json_text(item)}</script>\n'
        '<noscript><p class="quiet">The plot needs JavaScript.</p></noscript>\n'
        "</figure>\n"
    )


def scripts() -> tuple[str, ...]:
    """Return what a page with plots has to run: BokehJS, 1.3 MB, and what calls it."""
    library = files("bokeh").joinpath("server/static/js/bokeh.min.js").read_text(encoding="utf-8")
    return library, own_file("plots.js")


def plain(text: str) -> str:
    r"""Return a text of a user that a plot shows as it is, cut to 40 characters.

    Text in double dollars would be taken for TeX.

    Examples
    --------
    >>> plain("$$x$$") == "$\u200b$x$\u200b$"
    True
    """
    return short(text, _SHOWN_NAME).replace("$$", "$\u200b$")
