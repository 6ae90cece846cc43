"""A few labelled items of each class, taken as if no others had a label."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.evaluate.interval import wilson_interval
from featx.heads.moments import row_blocks
from featx.heads.predict import Head
from featx.train.material import Material
from featx.train.twins import find_twins

SHOWN_NAMES = 20


def draw_shots(material: Material, shots: int | None, *, seed: int) -> NDArray[np.bool_]:
    """Return which rows are drawn: `shots` of each class at random, all of one that has fewer.

    Of one seed, fewer shots are among more of them.

    Parameters
    ----------
    material : Material
        Of classes, unless `shots` is None.
    shots : int or None
        None draws all.
    seed : int

    Returns
    -------
    ndarray of bool, shape (N,)
    """
    if shots is None:
        return np.ones(len(material), dtype=bool)
    shuffled = np.random.default_rng(seed).permutation(len(material))
    order = shuffled[np.argsort(material.y[shuffled], kind="stable")]
    codes = material.y[order]
    place_in_class = np.arange(len(order)) - np.searchsorted(codes, codes)
    is_drawn = np.empty(len(material), dtype=bool)
    is_drawn[order] = place_in_class < shots
    return is_drawn


def shot_facts(
    head: Head, material: Material, is_drawn: NDArray[np.bool_], shots: int
) -> dict[str, Any]:
    """Return what was drawn, and how a head of it does on the rest, as JSON values.

    The rest has no part in the head, nor in its temperature and its sets; of nearly equal rows one
    counts, and none that is nearly equal to a drawn one.

    Parameters
    ----------
    head : Head
        Of the drawn rows.
    material : Material
        All labelled rows.
    is_drawn : ndarray of bool, shape (N,)
    shots : int
        How many of each class were asked for.

    Returns
    -------
    dict
        ``asked`` (a class), ``drawn`` (rows) and ``rest``: ``n`` rows, with ``accuracy`` and its
        95 % ``interval`` where there are any.
    """
    groups = find_twins(material.rows.X).groups
    first = np.unique(groups, return_index=True)[1]
    rows = np.sort(first[~np.isin(groups[first], groups[is_drawn])])
    n, hits = len(rows), 0
    for part in row_blocks(material.rows.X):
        own = rows[(rows >= part.start) & (rows < part.stop)]
        if len(own):
            found = head.logits(material.rows.X[own]).argmax(axis=1)
            hits += int((found == material.y[own]).sum())
    rest: dict[str, Any] = {"n": n}
    if n:
        rest |= {"accuracy": hits / n, "interval": list(wilson_interval(hits, n))}
    return {"asked": shots, "drawn": int(is_drawn.sum()), "rest": rest}


def scarce(material: Material, shots: int | None) -> list[str]:
    """Return a note on classes that have fewer labelled rows than are drawn."""
    few = [] if shots is None else [code for code, n in enumerate(material.counts()) if n < shots]
    if not few:
        return []
    counts = material.counts()
    shown = ", ".join(f"{material.names[code]} ({counts[code]})" for code in few[:SHOWN_NAMES])
    more = ", ..." if len(few) > SHOWN_NAMES else ""
    classes = "class has" if len(few) == 1 else "classes have"
    return [f"{len(few)} {classes} fewer than {shots} labelled items, all drawn: {shown}{more}"]
