"""Numbers as a reader wants them: shares in percent, counts with their noun."""

from collections.abc import Sequence

from featx.report.elements import DASH

_NOUNS = {"image": "picture", "text": "text", "audio": "sound", "array": "row"}
_CERTAIN = 0.9995


def percent(share: float) -> str:
    """Return a share in percent, with a decimal; what is not all is not 100 %.

    Examples
    --------
    >>> percent(0.8464), percent(1.0), percent(0.99999)
    ('84.6\u202f%', '100\u202f%', '99.9\u202f%')
    """
    if share in {0.0, 1.0}:
        return f"{share:.0%}".replace("%", "\u202f%")
    return f"{100 * min(share, _CERTAIN - 0.0005):.1f}\u202f%"


def between(interval: Sequence[float]) -> str:
    """Return the ends of an interval of shares.

    Examples
    --------
    >>> between([0.802, 0.8821]).encode("ascii", "replace")
    b'80.2?88.2?%'
    """
    low, high = interval
    return f"{100 * low:.1f}{DASH}{100 * high:.1f}\u202f%"


def number(value: float | None) -> str:
    """Return a measure with three decimals; a dash where there is none.

    Examples
    --------
    >>> number(0.8464), number(None) == DASH
    ('0.846', True)
    """
    return DASH if value is None else f"{value:z.3f}"


def counted(n: int, noun: str, plural: str = "") -> str:
    """Return a count with its noun.

    Examples
    --------
    >>> counted(1, "label"), counted(2000, "class", "classes")
    ('1 label', '2,000 classes')
    """
    return f"{n:,} {noun if n == 1 else plural or f'{noun}s'}"


def items_of(modality: str, n: int) -> str:
    """Return a number of items, by what they are.

    Examples
    --------
    >>> items_of("image", 306), items_of("array", 1)
    ('306 pictures', '1 row')
    """
    return counted(n, _NOUNS.get(modality, "item"))


def listed(names: Sequence[str], most: int = 3) -> str:
    """Return names in a sentence, the first few of many.

    Examples
    --------
    >>> listed(["a", "b"]), listed(["a", "b", "c", "d", "e"])
    ('a and b', 'a, b, c and 2 more')
    """
    shown = list(names[:most])
    if len(names) > most:
        shown.append(f"{len(names) - most:,} more")
    return " and ".join(filter(None, (", ".join(shown[:-1]), shown[-1]))) if shown else ""
