"""What is taken for what: a confusion matrix whose counts open the items, and each class."""

from html import escape

import numpy as np
from numpy.typing import NDArray

from featx.evaluate.metrics import class_measures, confusion_matrix
from featx.report.elements import Cell, folded, note, scrolling, section, short, table
from featx.report.judgement import Judgement
from featx.report.words import number

MOST_CLASSES = 20
"""Classes up to which the matrix is shown; of more, the pairs that are confused most."""

MOST_PAIRS = 40

MOST_ROWS = 200
"""Classes that the table lists."""

_SHOWN_NAME = 24
_SAID_NAME = 80

_DIALOG = """<dialog id="counted" aria-labelledby="counted-heading">
<form method="dialog"><h3 id="counted-heading"></h3>
<button class="close" type="button">Close</button></form>
<p class="quiet"></p>
<ul class="cards"></ul>
</dialog>
"""


def confusion_section(judgement: Judgement, *, are_texts: bool) -> str:
    """Return the section of what is taken for what.

    Parameters
    ----------
    judgement : Judgement
        Of classes.
    are_texts : bool
        Whether items are shown by words rather than by pictures.
    """
    names = judgement.names
    if len(names) <= MOST_CLASSES:
        words = "Rows are labels, columns what they are taken for. A count opens its items"
        shown = _matrix(names, confusion_matrix(judgement.labels, judgement.guesses, len(names)))
        words += "; arrow keys move between counts."
    else:
        words = (
            f"The pairs of {len(names):,} classes that are confused most. A count opens its items."
        )
        shown = _pairs(judgement)
    dialog = _DIALOG.replace('class="cards"', 'class="cards texts"') if are_texts else _DIALOG
    return section("confusion", "What is taken for what", words, shown, _classes(judgement), dialog)


def most_confused(judgement: Judgement, most: int = 1) -> list[tuple[str, str, int]]:
    """Return label, guess and count of the pairs that are confused most often."""
    names = judgement.names
    return [(names[label], names[guess], times) for label, guess, times in _worst(judgement, most)]


def _worst(judgement: Judgement, most: int) -> list[tuple[int, int, int]]:
    """Return codes of label and guess, and the count, of the pairs that are confused most often."""
    # Of many classes nearly all cells of the matrix are empty.
    n, is_wrong = len(judgement.names), ~judgement.hits
    cells = n * judgement.labels[is_wrong] + judgement.guesses[is_wrong]
    cells, times = np.unique(cells, return_counts=True)
    order = np.argsort(-times, kind="stable")[:most]
    return [(*divmod(int(cells[at]), n), int(times[at])) for at in order]


def _matrix(names: tuple[str, ...], counts: NDArray[np.int64]) -> str:
    heads = "".join(f'<th scope="col"><span>{_name(name)}</span></th>' for name in names)
    lines = "".join(
        f'<tr><th scope="row">{_name(name)}</th>{_cells(names, counts, label)}'
        f'<td class="number quiet">{counts[label].sum():,}</td></tr>\n'
        for label, name in enumerate(names)
    )
    said = "Labels by what they are taken for"
    html = (
        f'<table class="matrix">\n<caption class="unseen">{said}</caption>\n'
        f'<thead><tr><th scope="col"><span class="unseen">label</span></th>{heads}'
        f'<th scope="col"><span>items</span></th></tr></thead>\n<tbody>\n{lines}'
        "</tbody>\n</table>\n"
    )
    return scrolling(html, said)


def _name(name: str) -> str:
    return escape(short(name, _SHOWN_NAME))


def _cells(names: tuple[str, ...], counts: NDArray[np.int64], label: int) -> str:
    """Return the counts of a label; one of all takes part in the order of the tab key."""
    total = max(1, int(counts[label].sum()))
    first = np.argwhere(counts)[0].tolist()
    cells = []
    for guess, times in enumerate(counts[label].tolist()):
        kind = "right" if label == guess else "wrong"
        shade = f' class="{kind}" style="--share:{times / total:.3f}"' if times else ""
        in_turn = [label, guess] == first
        button = _button(names, (label, guess, times), in_turn=in_turn) if times else ""
        cells.append(f"<td{shade}>{button}</td>")
    return "".join(cells)


def _button(names: tuple[str, ...], pair: tuple[int, int, int], *, in_turn: bool = True) -> str:
    """Return a count that opens the items of a label that were taken for a class."""
    label, guess, times = pair
    name = short(names[label], _SAID_NAME)
    said = f"{name} taken for {short(names[guess], _SAID_NAME)}"
    title = escape(f"{f'{name}, right' if label == guess else said}: {times:,}")
    turn = "" if in_turn else ' tabindex="-1"'
    return (
        f'<button class="count" type="button"{turn} aria-label="{title}" '
        f'data-label="{label}" data-guess="{guess}" data-times="{times}">{times:,}</button>'
    )


def _pairs(judgement: Judgement) -> str:
    names, worst = judgement.names, _worst(judgement, MOST_PAIRS)
    if not worst:
        return note("No item is taken for another class.")
    sizes = np.bincount(judgement.labels)
    rows: list[list[str | Cell]] = [
        [
            short(names[pair[0]]),
            short(names[pair[1]]),
            Cell(_button(names, pair), "number"),
            f"{sizes[pair[0]]:,}",
        ]
        for pair in worst
    ]
    header = ["label", "taken for", "times", "items of the label"]
    return table(header, rows, caption="Pairs of classes that are confused most")


def _classes(judgement: Judgement) -> str:
    names = judgement.names
    columns = judgement.labels[judgement.hits], judgement.guesses, judgement.labels
    measured = class_measures(*(np.bincount(codes, minlength=len(names)) for codes in columns))
    order = np.argsort([each["f1"] for each in measured], kind="stable")
    rows = [
        [
            short(names[code]),
            *(number(measured[code][name]) for name in ("f1", "precision", "recall")),
            f"{measured[code]['support']:,}",
        ]
        for code in order[:MOST_ROWS]
    ]
    of = f"the {MOST_ROWS} hardest of {len(names):,}" if len(names) > MOST_ROWS else "hardest first"
    header = ["class", "F1", "precision", "recall", "items"]
    return folded(f"Each class, {of}", table(header, rows, caption="Measures of each class"))
