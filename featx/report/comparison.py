"""The page of a comparison: which backbone suits, what that costs, and how sure it is."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from featx.report import plot
from featx.report.elements import DASH, note, notes, section, table
from featx.report.page import writing_page

if TYPE_CHECKING:
    from featx.transfer.compare.comparison import Comparison
    from featx.transfer.compare.mixes import Mix
    from featx.transfer.compare.standing import Standing

_MEGABYTE = 1e6
# Room beside the slowest and the fastest backbone, on a logarithmic axis.
_ROOM = 1.5


def write_comparison(found: "Comparison", path: Path, *, source: str) -> None:
    """Write what came of a comparison as one page that needs nothing else.

    Parameters
    ----------
    found : Comparison
    path : Path
    source : str
        What was compared on, for people.

    Raises
    ------
    StoreError
        If the place cannot be written.
    """
    n = f"{found.compared:,} of {found.labelled:,} labelled items"
    summary = f"{source}: {n}, {found.classes} classes, each item left out of the fit in turn"
    title = f"{len(found.standings)} backbones compared"
    with writing_page(path, title, summary, scripts=plot.scripts()) as write:
        write(section("verdict", "What to take", "", notes(found.verdict())))
        write(_ranking(found))
        write(_front(found.standings))
        if found.mixes:
            write(_mixes(found.mixes))
        if found.notes or found.problems:
            write(_remarks(found))


def _ranking(found: "Comparison") -> str:
    kinds = list(dict.fromkeys(kind for each in found.standings for kind in each.heads))[1:]
    header = ["backbone", "accuracy", "95 % interval", "difference, points", "interval", "level"]
    rows = [_row(each, kinds, is_best=each is found.best) for each in found.standings]
    return section(
        "ranking",
        "Backbones",
        "Accuracy is that of a ridge head by exact leave-one-out. The difference is that to"
        " the best on the same items; level means that chance could have made it.",
        table([*header, *kinds, "items", "LogME"], rows, caption="Backbones, the best first"),
    )


def _row(each: "Standing", kinds: Sequence[str], *, is_best: bool) -> list[str]:
    beside = [DASH, DASH, "best"]
    if not is_best:
        low, high = (100 * end for end in each.beside.bounds(each.level))
        points = f"{100 * each.beside.difference:z.1f}"
        beside = [points, f"{low:z.1f} to {high:z.1f}", "yes" if each.is_level else "no"]
    low, high = each.interval
    heads = [f"{each.heads[kind]:.3f}" if kind in each.heads else DASH for kind in kinds]
    interval = f"{low:.3f}{DASH}{high:.3f}"
    return [
        each.name, f"{each.accuracy:.3f}", interval, *beside, *heads, f"{each.n:,}",
        f"{each.logme:.3f}",
    ]  # fmt: skip


def _front(standings: Sequence["Standing"]) -> str:
    timed = [each for each in standings if each.items_per_s > 0]
    header = ["backbone", "accuracy", "items a second", "dimensions", "megabytes", "on the front"]
    rows = [
        [
            each.name,
            f"{each.accuracy:.3f}",
            f"{each.items_per_s:.1f}" if each.items_per_s else DASH,
            f"{each.dim:,}",
            f"{each.size_bytes / _MEGABYTE:.1f}",
            "yes" if each.is_on_front else "no",
        ]
        for each in standings
    ]
    return section(
        "front",
        "Accuracy and speed",
        "Items a second on this machine, without the cache. The line joins the backbones"
        " that no other beats in both; whiskers are 95 % intervals.",
        _plot(timed) if timed else "",
        table(header, rows, caption="Accuracy, speed and size of each backbone"),
    )


def _plot(standings: Sequence["Standing"]) -> str:
    from bokeh.models import LogTicker

    speeds = [each.items_per_s for each in standings]
    ends = [end for each in standings for end in each.interval]
    margin = 0.1 * (max(ends) - min(ends))
    drawn = plot.figure(
        label=f"Accuracy against items a second of {len(standings)} backbones; the table that"
        " follows holds the same numbers.",
        x_label="items a second",
        y_label="accuracy",
        height=380,
        x_axis_type="log",
        x_range=(min(speeds) / _ROOM, max(speeds) * _ROOM),
        y_range=(min(ends) - margin, max(ends) + margin),
    )
    figure = drawn.figure
    figure.xaxis[0].ticker = LogTicker(mantissas=[1, 2, 5])
    front = sorted((each for each in standings if each.is_on_front), key=lambda s: s.items_per_s)
    line = figure.line(
        [each.items_per_s for each in front], [each.accuracy for each in front], line_width=2
    )
    plot.themed(line.glyph, line_color="accent")
    lows, highs = zip(*(each.interval for each in standings), strict=True)
    whiskers = figure.segment(speeds, list(lows), speeds, list(highs), line_width=1.5)
    plot.themed(whiskers.glyph, line_color="quiet")
    accuracies = [each.accuracy for each in standings]
    dots = figure.scatter(speeds, accuracies, size=10)
    plot.themed(dots.glyph, fill_color="accent", line_color="card")
    # Names stand where there is room: left of the fast ones, right of the slow ones.
    is_fast = [speed**2 > min(speeds) * max(speeds) for speed in speeds]
    words = figure.text(
        speeds,
        accuracies,
        text=[plot.plain(each.name) for each in standings],
        text_align=["right" if fast else "left" for fast in is_fast],
        x_offset=[-9 if fast else 9 for fast in is_fast],
        y_offset=-5,
        text_font_size="13px",
    )
    plot.themed(words.glyph, text_color="ink")
    return plot.block(drawn)


def _mixes(mixes: Sequence["Mix"]) -> str:
    rows = []
    for each in mixes:
        low, high = (100 * end for end in each.gain.bounds(each.confidence))
        points = f"{100 * each.gain.difference:z.1f}"
        interval = f"{low:z.1f} to {high:z.1f}"
        shown = f"{each.hits / each.n:.3f}", points, interval, "yes" if each.helps else "no"
        rows.append([each.name, f"{each.dim:,}", *shown])
    return section(
        "mixes",
        "Joined and reduced embeddings",
        "The best backbone joined with the next ones, and its first principal components alone,"
        " beside the best on the same items. Joined ones help if they are surely better, fewer"
        " dimensions if they are surely not a point worse.",
        table(["embeddings", "dimensions", "accuracy", "gain, points", "interval", "helps"], rows),
    )


def _remarks(found: "Comparison") -> str:
    skipped = [f"{item_id}: {why}" for item_id, why in found.problems.items()]
    parts = [notes(found.notes)]
    if skipped:
        parts += [note(f"{found.skipped:,} items were skipped, first:"), notes(skipped)]
    return section("remarks", "Remarks", "", *parts)
