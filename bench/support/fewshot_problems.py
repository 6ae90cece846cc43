"""Texts with few labels a class: three problems cut from the labelled corpus."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.support import labelled
from bench.support.places import RUNS

SIZES = (1, 2, 4, 8, 16)
SEED = 20261126
RATED = ("film", "product", "editorial", "tweet")
LETTERS = 160  # of a text, about what a mailbox shows of a mail: the peer takes minutes a draw


@dataclass(frozen=True, slots=True)
class Problem:
    """Texts of a few classes.

    Attributes
    ----------
    key : str
    name : str
        For the rows.
    classes : mapping of str to str
        Label of the corpus → class; texts of other labels are left out.
    """

    key: str
    name: str
    classes: Mapping[str, str]

    def pool(self) -> list[tuple[str, str]]:
        """Return all its texts with their classes, in a fixed random order."""
        lines = labelled.texts().read_text(encoding="utf-8").splitlines()
        read = [json.loads(line) for line in lines]
        found = [
            (each["text"][:LETTERS], self.classes[each["label"]])
            for each in read
            if each["label"] in self.classes
        ]
        order = np.random.default_rng(SEED).permutation(len(found))
        return [found[i] for i in order]


PROBLEMS = (
    Problem("mails", "mails, 2 classes", {"ham": "ham", "spam": "spam"}),
    Problem(
        "films",
        "film reviews, 2 classes",
        {f"film-{sign}": sign for sign in ("positive", "negative")},
    ),
    Problem(
        "sources",
        "sources of texts, 4 classes",
        {f"{kind}-{sign}": kind for kind in RATED for sign in ("positive", "negative")},
    ),
)


@dataclass(frozen=True, slots=True)
class Draw:
    """Labelled texts, as many of each class.

    Attributes
    ----------
    size : int
        Labels a class.
    seed : int
    texts, labels : list of str
    """

    size: int
    seed: int
    texts: list[str]
    labels: list[str]


def draws(pool: list[tuple[str, str]], sizes: tuple[int, ...], seeds: int) -> list[Draw]:
    """Return a draw for each seed and size; of one seed, smaller ones are in larger ones."""
    found = []
    for seed in range(seeds):
        order = np.random.default_rng([SEED, seed]).permutation(len(pool))
        shuffled = [pool[i] for i in order]
        for size in sizes:
            kept = [
                item
                for name in sorted({label for _, label in pool})
                for item in [each for each in shuffled if each[1] == name][:size]
            ]
            texts, labels = ([item[part] for item in kept] for part in (0, 1))
            found.append(Draw(size, seed, texts, labels))
    return found


def write(problem: Problem, sizes: tuple[int, ...], seeds: int, tests: int) -> Path:
    """Write a problem as its workers read it: texts to judge by, and the draws of the others."""
    pool = problem.pool()
    test, rest = pool[:tests], pool[tests:]
    document: dict[str, Any] = {
        "test": {"texts": [text for text, _ in test], "labels": [label for _, label in test]},
        "draws": [
            {"size": each.size, "seed": each.seed, "texts": each.texts, "labels": each.labels}
            for each in draws(rest, sizes, seeds)
        ],
    }
    path = RUNS / f"fewshot-{problem.key}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document), encoding="utf-8")
    return path
