"""The learning curve: what more labels would bring."""

from collections.abc import Mapping
from typing import Any

from featx.report import plot
from featx.report.elements import folded, section, table
from featx.report.words import between, number, percent

# Beside the fewest and the most labels, on a logarithmic axis.
_ROOM = 1.15


def learning_section(curve: Mapping[str, Any]) -> str:
    """Return the section of the learning curve.

    Parameters
    ----------
    curve : mapping
        From `featx.train.curve.learning_curve`.
    """
    rows = [
        [f"{each['n']:,}", number(each["accuracy"]), number(each["low"]), number(each["high"])]
        for each in curve["points"]
    ]
    for name in ("now", "doubled"):
        end = curve[name]
        n = f"{end['n']:,} (expected)"
        rows.append([n, number(end["accuracy"]), *map(number, end["interval"])])
    return section(
        "learning",
        "What more labels would bring",
        f"{doubled(curve)} The law is fitted to the points and need not hold beyond them.",
        plot.block(_drawn(curve)),
        folded("The numbers", table(["labels", "accuracy", "lowest", "highest"], rows)),
    )


def doubled(curve: Mapping[str, Any]) -> str:
    """Return what twice the labels are expected to bring, in a sentence."""
    now, then = curve["now"], curve["doubled"]
    return (
        f"With twice the labels, {then['n']:,}, expect {percent(then['accuracy'])} right "
        f"(95\u202f% interval {between(then['interval'])}); the same law says "
        f"{percent(now['accuracy'])} of those that there are."
    )


def _drawn(curve: Mapping[str, Any]) -> plot.Drawing:
    points = curve["points"]
    ends = [curve["now"], curve["doubled"]]
    drawn = plot.figure(
        label="Accuracy against the number of labels, with what twice as many would bring. The "
        "numbers follow as a table.",
        x_label="labels",
        y_label="accuracy",
        x_axis_type="log",
        x_range=(points[0]["n"] / _ROOM, ends[-1]["n"] * _ROOM),
        y_range=plot.share_range(
            [
                *(each[name] for each in points for name in ("low", "high")),
                *(end for each in ends for end in (each["accuracy"], *each["interval"])),
            ]
        ),
    )
    n = [each["n"] for each in points]
    bars = drawn.figure.segment(
        n,
        [each["low"] for each in points],
        n,
        [each["high"] for each in points],
        line_width=3,
        line_alpha=0.4,
    )
    plot.themed(bars.glyph, line_color="accent")
    values = [each["accuracy"] for each in points]
    line = drawn.figure.line(n, values, line_width=2)
    plot.themed(line.glyph, line_color="accent")
    dots = drawn.figure.scatter(n, values, size=9)
    plot.themed(dots.glyph, fill_color="accent", line_color="card")
    _draw_expected(drawn, [points[-1], *ends])
    return drawn


def _draw_expected(drawn: plot.Drawing, ends: list[Mapping[str, Any]]) -> None:
    n, values = [each["n"] for each in ends], [each["accuracy"] for each in ends]
    line = drawn.figure.line(n, values, line_width=2, line_dash="dashed")
    plot.themed(line.glyph, line_color="quiet")
    low, high = zip(*(each["interval"] for each in ends[1:]), strict=True)
    bars = drawn.figure.segment(n[1:], low, n[1:], high, line_width=3, line_alpha=0.4)
    plot.themed(bars.glyph, line_color="quiet")
    dots = drawn.figure.scatter(n[1:], values[1:], size=9)
    plot.themed(dots.glyph, fill_color="card", line_color="quiet")
