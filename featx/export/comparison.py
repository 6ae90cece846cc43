"""How far an exported file may be from Python, and is."""

from dataclasses import dataclass

from featx.errors import InputError

EXACT = 1e-5
"""Largest difference in probability where only the order of float32 sums differs; of values and
ends of intervals, as a share of the largest end."""

ROUNDED = 5e-3
"""The same where weights are rounded to float16, or the graph resizes pictures: a pixel that is
rounded to the level next to it shows in the vector."""

VECTORS_EXACT, VECTORS_ROUNDED = 1e-4, 2e-2
"""The same of embeddings, as a share of their length; 4e-7 and 4e-3 are usual."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """How an exported file differs from Python.

    Attributes
    ----------
    items : int
    difference : float
        Largest difference in probability; of values and ends of intervals, as a share of the
        largest end.
    vectors : float
        Largest distance of an embedding from that of Python, as a share of its length; 0 where
        the file takes embeddings.
    labels : int
        Items that get another label.
    novel : int
        Items that one calls novel and the other does not.
    misjudged : int
        Items of which the file says so, or not, where Python does not of the same embedding; those
        at the threshold are not counted.
    levels : float or None
        Largest difference of a resized pixel, of 255, where the graph resizes.
    """

    items: int
    difference: float
    vectors: float = 0.0
    labels: int = 0
    novel: int = 0
    misjudged: int = 0
    levels: float | None = None


def require_equal(found: Comparison, where: str, *, is_exact: bool) -> None:
    """Raise if a file differs more than it may.

    Parameters
    ----------
    found : Comparison
    where : str
        What was exported.
    is_exact : bool
        Whether only the order of sums may differ.

    Raises
    ------
    InputError
        Saying by how much, and what is allowed.
    """
    problem = _problem(found, is_exact=is_exact)
    if problem:
        remedy = f"serve it instead: featx serve {where}"
        if not is_exact:
            remedy = "leave out --precision and --with-preprocessing"
        message = f"{where}: not written: {problem}; {remedy}"
        raise InputError(message)


def _problem(found: Comparison, *, is_exact: bool) -> str:
    answers, vectors = (EXACT, VECTORS_EXACT) if is_exact else (ROUNDED, VECTORS_ROUNDED)
    both = "of the file and of Python"
    if not found.difference <= answers:  # nor where it is no number
        return f"answers {both} differ by {found.difference:.2g}; at most {answers:g} is allowed"
    if not found.vectors <= vectors:
        return f"embeddings {both} differ by {found.vectors:.2g}; at most {vectors:g} is allowed"
    if found.labels and not is_exact:
        return f"the file gives {found.labels} of {found.items} items another label; none may"
    if found.misjudged:
        return f"the file judges {found.misjudged} of {found.items} items otherwise on novelty"
    return ""
