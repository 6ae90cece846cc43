"""The page of a comparison: which backbone suits, what that costs, and how sure it is."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

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
    header = ["backbone", "accuracy", "95 % interval", "difference, points", "its interval"]
    header += ["level", *kinds, "items", "LogME"]
    rows = [_row(each, kinds, is_best=each is found.best) for each in found.standings]
    return section(
        "ranking",
        "Backbones",
        "Accuracy is that of a ridge head by exact leave-one-out. The difference is that to"
        " the best on the same items; level means that chance could have made it.",
        table(header, rows, caption="Backbones, the best first"),
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
    header = ["backbone", "no.", "accuracy", "items a second", "dimensions", "megabytes"]
    header.append("on the front")
    rows = [
        [
            each.name,
            f"{number}",
            f"{each.accuracy:.3f}",
            f"{each.items_per_s:.1f}" if each.items_per_s else DASH,
            f"{each.dim:,}",
            f"{each.size_bytes / _MEGABYTE:.1f}",
            ("yes" if each.is_on_front else "no") if each.items_per_s else DASH,
        ]
        for number, each in enumerate(standings, start=1)
    ]
    words = (
        "Items a second on this machine, without the cache. The line joins the backbones"
        " that no other beats in both; whiskers are 95 % intervals. On a narrow screen the numbers"
        " of the table stand for names."
    )
    return section(
        "front",
        "Accuracy and speed",
        words if timed else "Time was over before a speed was measured.",
        _plot(timed, [standings.index(each) + 1 for each in timed]) if timed else "",
        table(header, rows, caption="Accuracy, speed and size of each backbone"),
    )


def _plot(standings: Sequence["Standing"], numbers: Sequence[int]) -> str:
    speeds = [each.items_per_s for each in standings]
    ends = [end for each in standings for end in each.interval]
    drawn = plot.figure(
        label=f"Accuracy against items a second of {len(standings)} backbones; the table that"
        " follows holds the same numbers.",
        x_label="items a second",
        y_label="accuracy",
        height=380,
        x_axis_type="log",
        x_range=(min(speeds) / _ROOM, max(speeds) * _ROOM),
        y_range=plot.share_range(ends),
    )
    figure = drawn.figure
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
    # Names stand where there is room: right of and above the slow ones, left of and below the fast
    # ones, off the line; of neighbours one stands farther off.
    is_fast = [speed**2 > min(speeds) * max(speeds) for speed in speeds]
    is_far = np.argsort(np.argsort(speeds)) % 2 == 1
    texts = {
        "wide": [plot.plain(each.name) for each in standings],
        "narrow": [str(number) for number in numbers],
    }
    for screen, text in texts.items():
        words = figure.text(
            speeds,
            accuracies,
            text=text,
            text_align=["right" if fast else "left" for fast in is_fast],
            x_offset=[-9 if fast else 9 for fast in is_fast],
            y_offset=[
                (19 if fast else -5) + (14 if fast else -14) * bool(far)
                for fast, far in zip(is_fast, is_far, strict=True)
            ],
            text_font_size="13px",
            visible=screen == "wide",
        )
        plot.themed(words.glyph, text_color="ink")
        plot.seen_on(words, "wide" if screen == "wide" else "narrow")
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
