"""The problems that heads are fitted to, as arrays in a folder that every worker can read."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.support import embeddings, generator
from bench.support.embeddings import Labelled
from bench.support.heads_plan import Plan, Size
from bench.support.places import HOME

PROBLEMS = HOME / "problems"
N_FOLDS, SEED = 5, 20261123


@dataclass(frozen=True, slots=True)
class Problem:
    """A training part and a test part.

    Attributes
    ----------
    name : str
        For the rows.
    key : str
        Of its folder.
    classes : int
    make : callable
        Returns the arrays.
    command : str
        What makes them, if that takes minutes or the network; else "".
    is_made : callable
        Whether that command was run.
    """

    name: str
    key: str
    classes: int
    make: Callable[[], Labelled]
    command: str = ""
    is_made: Callable[[], bool] = lambda: True

    def folder(self) -> Path:
        """Return the folder of its arrays, written once; `folds` are for all tools the same."""
        folder = PROBLEMS / self.key
        if not (folder / "folds.npy").is_file():
            folder.mkdir(parents=True, exist_ok=True)
            made = self.make()
            for name in ("X", "y", "X_test", "y_test"):
                np.save(folder / f"{name}.npy", getattr(made, name))
            np.save(folder / "folds.npy", stratified(made.y))
        return folder

    def read(self) -> Labelled:
        folder = self.folder()
        names = ("X", "y", "X_test", "y_test")
        return Labelled(*(np.load(folder / f"{name}.npy") for name in names))


def stratified(y: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the fold of each row."""
    from sklearn.model_selection import StratifiedKFold

    folds = np.empty(len(y), dtype=np.int64)
    dealt = StratifiedKFold(N_FOLDS, shuffle=True, random_state=SEED)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a class with fewer rows than folds
        for number, (_, held_out) in enumerate(dealt.split(y, y)):
            folds[held_out] = number
    return folds


def drawn(size: Size) -> Problem:
    """Return a problem of the generator."""
    name = f"generator, {size.classes} classes, n={size.train:,} d={size.dim}"
    key = f"drawn-{size.train}-{size.test}-{size.dim}-{size.classes}"
    make = partial(generator.draw, size.recipe, size.train, size.test)
    return Problem(name, key, size.classes, make)


def real(plan: Plan) -> list[Problem]:
    """Return the problems of embeddings of real items."""
    command, classes = "python -m bench.support.embeddings", 10
    sources = (
        (f"texts, {classes} classes, n={plan.texts:,} d=384", embeddings.TEXTS, plan.texts),
        (f"clip art, {classes} classes, n={plan.images:,} d=1280", embeddings.IMAGES, plan.images),
    )
    return [
        Problem(
            name,
            f"{path.stem}-{train}",
            classes,
            partial(embeddings.split, path, train),
            command,
            partial(embeddings.is_made, path),
        )
        for name, path, train in sources
        if train
    ]
