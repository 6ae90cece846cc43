"""How good a head is: beside what guessing reaches, and by each measure."""

from collections.abc import Mapping
from typing import Any

from featx.evaluate.measures import HEADLINES
from featx.report import plot
from featx.report.elements import section, table
from featx.report.words import between, number, percent
from featx.types import Task

_BASELINES = {
    "majority": "always the commonest",
    "raw": "a head on raw features",
    "mean": "always the mean",
}
_MEANINGS = {
    "accuracy": "share of items that are right in all",
    "micro_f1": "F1 of all tags taken together",
    "r2": "share of the variance that is explained",
    "balanced_accuracy": "share that is right of each class, on average: rare ones count as much",
    "macro_f1": "mean F1 of the classes",
    "mean_average_precision": "how well each tag ranks the items, on average",
    "hamming_loss": "share of single tags that are wrong",
    "log_loss": "how surprising the labels are to the probabilities; 0 is best",
    "calibration_error": "mean gap between how sure it is and how often it is right",
    "set_coverage": "share of items whose set of labels holds the right one",
    "set_size": "labels in a set, on average",
    "mae": "mean absolute error, in units of the label",
    "rmse": "root of the mean squared error, in units of the label",
    "spearman": "correlation of ranks",
    "interval_coverage": "share of items whose interval holds the value",
    "interval_width": "width of the intervals, in units of the label",
}
"""Measure → what it says, in the order of the table."""


def accuracy_section(measures: Mapping[str, Any], task: Task, head: str, words: str) -> str:
    """Return the section of accuracy.

    Parameters
    ----------
    measures : mapping
        As `featx.evaluate.measures` says them, with ``baselines``.
    task : {"classify", "multilabel", "regress"}
    head : str
        Kind of the head.
    words : str
        On which items it was measured.
    """
    measure = HEADLINES[task]
    others = {_BASELINES.get(name, name): v for name, v in measures["baselines"].items()}
    kinds = measures.get("chosen", {}).get("compared") or {}
    return section(
        "accuracy",
        "Accuracy",
        words,
        plot.block(_drawn(measures, measure, f"this head ({head})", others)),
        table(["measure", "value", "what it is"], _rows(measures), caption="Measures of the head"),
        _tried(kinds, head) if len(kinds) > 1 else "",
    )


def _drawn(
    measures: Mapping[str, Any], measure: str, head: str, others: Mapping[str, float]
) -> plot.Drawing:
    """Return the head with its interval, above what it is compared with."""
    drawn_values = {plot.plain(head): measures[measure]}
    for name, value in others.items():
        drawn_values.setdefault(plot.plain(name), value)
    names, values = list(drawn_values), list(drawn_values.values())
    said = "; ".join(f"{name} {value:.3f}" for name, value in zip(names, values, strict=True))
    drawn = plot.figure(
        label=f"{_words(measure)}: {said}. The numbers follow as a table.",
        height=56 * len(names) + 44,
        y_range=names[::-1],
        x_range=(min(0.0, *values), 1.02),
        x_label=_words(measure),
    )
    drawn.figure.ygrid.visible = False
    drawn.figure.yaxis.axis_line_color = drawn.figure.yaxis.major_tick_line_color = None
    if measure != "micro_f1":  # which has no interval
        low, high = measures["interval"]
        bar = drawn.figure.segment(
            [low], names[:1], [high], names[:1], line_width=4, line_alpha=0.35
        )
        plot.themed(bar.glyph, line_color="accent")
    dots = drawn.figure.scatter(values[:1], names[:1], size=12)
    plot.themed(dots.glyph, fill_color="accent", line_color="card")
    dots = drawn.figure.scatter(values[1:], names[1:], size=10)
    plot.themed(dots.glyph, fill_color="quiet", line_color="card")
    return drawn


def _rows(measures: Mapping[str, Any]) -> list[list[str]]:
    rows = []
    for name, meaning in _MEANINGS.items():
        if name not in measures:
            continue
        said = meaning
        if name in {"accuracy", "r2"}:
            said += f"; 95\u202f% interval {_ends(measures['interval'])}"
        if name == "calibration_error":
            said += f"; chance alone stays below {number(measures['calibration_band'][1])}"
        rows.append([_words(name), number(measures[name]), said])
    for name, value in measures["baselines"].items():
        rows.append([f"baseline: {name}", number(value), _BASELINES.get(name, name)])
    return rows


def _words(name: str) -> str:
    return name.replace("_", " ").replace("f1", "F1").replace("r2", "R²")


def _ends(interval: list[float]) -> str:
    low, high = interval
    return f"{number(low)} to {number(high)}"


def _tried(kinds: Mapping[str, Mapping[str, float]], head: str) -> str:
    names = list(next(iter(kinds.values())))
    rows = [
        [f"{kind} (kept)" if kind == head else kind, *(number(found.get(n)) for n in names)]
        for kind, found in kinds.items()
    ]
    header = ["head", *map(_words, names)]
    return table(header, rows, caption="Kinds of head that were tried")


def headline(measures: Mapping[str, Any], task: Task, items: str) -> str:
    """Return how good a head is, with its interval, to follow its name in a sentence.

    Parameters
    ----------
    measures : mapping
    task : {"classify", "multilabel", "regress"}
    items : str
        That it was measured on, in words.
    """
    if task == "classify":
        share, ends = percent(measures["accuracy"]), between(measures["interval"])
        return f"is right on {share} of {items} (95\u202f% interval {ends})"
    if task == "multilabel":
        return f"reaches a micro F1 of {number(measures['micro_f1'])} on {items}"
    ends = _ends(measures["interval"])
    return f"reaches an R² of {number(measures['r2'])} on {items} (95\u202f% interval {ends})"
