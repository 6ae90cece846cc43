"""Columns of a table, and what their cells mean: labels and splits."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

from featx.errors import InputError, ItemError
from featx.types import Split

SPLITS: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
"""Accepted words, lower-case → split."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Which column of a table holds what; None where the default is to be used.

    Attributes
    ----------
    text_col, image_col, audio_col : str or None
        What is embedded; images and sounds are paths relative to the table's folder.
    label_col, id_col, split_col : str or None
        Default ``label``, ``labels`` or ``class``; ``id``; ``split``; each where present.
    """

    text_col: str | None = None
    image_col: str | None = None
    audio_col: str | None = None
    label_col: str | None = None
    id_col: str | None = None
    split_col: str | None = None


def option(field: str) -> str:
    """Return the command-line spelling of a field of `Columns`.

    Examples
    --------
    >>> option("label_col")
    '--label-col'
    """
    return "--" + field.replace("_", "-")


def require_column(where: str, names: Iterable[str], wanted: str) -> str:
    """Return `wanted` if it is among `names`.

    Raises
    ------
    InputError
        Naming the nearest column and all that there are.
    """
    known = list(names)
    if wanted in known:
        return wanted
    near = get_close_matches(wanted, known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise InputError(f"{where}: no column {wanted!r}; {hint}columns: {', '.join(known) or 'none'}")


def is_unicode(text: str) -> bool:
    """Return whether `text` can be written as UTF-8, that is, holds no lone surrogate."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_missing(value: object) -> bool:
    """Return whether a cell is None, empty or NaN."""
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def clean_label(value: object) -> str | None:
    """Return a label as a string without spaces around it, or None where there is none.

    Raises
    ------
    ItemError
        If it is not one value, or not valid text.

    Examples
    --------
    >>> clean_label(" cat "), clean_label(1), clean_label(1.0), clean_label(float("nan"))
    ('cat', '1', '1.0', None)
    """
    if is_missing(value):
        return None
    if isinstance(value, bytes):
        value = value.decode("utf-8", "surrogateescape")
    if isinstance(value, (list, tuple, dict, set)):
        raise ItemError(f"label is a {type(value).__name__}; it must be one value")
    label = str(value)
    if not is_unicode(label):
        raise ItemError("label is not UTF-8")
    return label.strip() or None


def clean_split(value: object, *, where: str) -> Split | None:
    """Return the split that `value` names, or None where it is empty.

    Parameters
    ----------
    value : object
        A cell; letter case does not matter.
    where : str
        File and row, for the message.

    Raises
    ------
    InputError
        If it is no known word.

    Examples
    --------
    >>> clean_split("Validation", where="a.csv: row 1")
    'val'
    """
    if is_missing(value):
        return None
    if isinstance(value, bytes):
        value = value.decode("utf-8", "backslashreplace")
    split = SPLITS.get(str(value).strip().lower())
    if split is None:
        raise InputError(
            f"{where}: unknown split {value!r}; allowed: {', '.join(SPLITS)}; "
            f"name another column with {option('split_col')}, or leave the cell empty"
        )
    return split
