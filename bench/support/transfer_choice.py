"""Choosing a backbone: what is lost by a look at a tenth of the cost of trying all.

For each seed items are dealt anew into those that train and those that test.  Trying all means to
embed the items that train with one backbone after the other and to fit scikit-learn's
LogisticRegressionCV to each; the best is that of the highest accuracy on the items that test.
``featx compare`` gets a tenth of the seconds of that, its own start included, an empty cache, and
the items that train.

Backbones: those of the zoo that take the items, and the zoo's own without their last blocks.
"""

import csv
import json
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.support import drive, finetune_cases, labelled, rounds, rows, tools
from bench.support.labelled import Labelled
from bench.support.packages import Unavailable
from bench.support.places import HOME
from bench.support.shallow import shallower
from featx import samples
from featx.errors import FeatxError
from featx.onboard.fetch.pulling import pull

MOST_BYTES = 2**30
THREADS, POOL_SEED = 2, 20261126
COMMAND = "python -m bench.transfer --only choice"

START_S = 4.0
"""What a run of ``featx compare`` takes beside its budget: to start, and to open backbones."""


@dataclass(frozen=True, slots=True)
class Case:
    """Labelled items and backbones for them.

    Attributes
    ----------
    name : str
        For the rows.
    column : str
        Of the table, ``text`` or ``image``.
    items : callable
    model : str
        Backbone that loses blocks.
    blocks : tuple of int
        How many each of its shallower ones lacks.
    others : tuple of str
        Of the zoo; fetched, or left out where that cannot be.
    train, test : int
        Items of each seed.
    """

    name: str
    column: str
    items: Callable[[], list[Labelled]]
    model: str
    blocks: tuple[int, ...]
    others: tuple[str, ...] = ()
    train: int = 4000
    test: int = 4000

    def pool(self) -> list[Labelled]:
        """Return the items that are dealt, in a fixed order."""
        return labelled.drawn(self.items(), self.train + self.test, seed=POOL_SEED)

    def models(self) -> list[str]:
        """Return names, or places of manifests."""
        here = [name for name in self.others if _is_pulled(name)]
        made = shallower(self.model, self.blocks, rounds.place(f"choice-{self.column}-zoo"))
        return [self.model, *here, *map(str, made)]


def _is_pulled(name: str) -> bool:
    """Fetch a backbone to a zoo below ``.bench/``, and return whether it is there."""
    os.environ["XDG_DATA_HOME"] = str(HOME / "data")
    try:
        pull(name, limit_bytes=MOST_BYTES, say=lambda line: print(line, file=sys.stderr))
    except FeatxError as error:
        print(f"  {name} is left out: {error}", file=sys.stderr)
        return False
    return True


def sample_mails() -> list[Labelled]:
    """Return the mails inside the package."""
    with (samples.folder() / "mails.csv").open(encoding="utf-8", newline="") as file:
        return [(row["text"], row["label"]) for row in csv.DictReader(file)]


CASES = (
    Case(
        "texts, 10 classes",
        "text",
        finetune_cases.texts,
        tools.TEXT,
        (2, 4),
        (tools.LAYERS, "minilm-l6-int8", "paraphrase-minilm-l3"),
    ),
    Case(
        "clip art, 10 classes",
        "image",
        finetune_cases.images,
        tools.IMAGE,
        (1, 3, 6, 9),
        (tools.IMAGE_LAYERS,),
        train=1500,
        test=1500,
    ),
)
QUICK = Case("mails, 2 classes", "text", sample_mails, tools.TEXT, (3,), train=150, test=150)


def measure(*, seeds: int, is_quick: bool = False) -> list[dict[str, Any]]:
    """Return rows: regret and cost of the choice in each case.

    Parameters
    ----------
    seeds : int
    is_quick : bool
        Whether to take a small problem instead, whose cost is mostly that of starting.
    """
    cases = (QUICK,) if is_quick else CASES
    return [row for case in cases for row in _rows(case, seeds)]


@dataclass(frozen=True, slots=True)
class _All:
    """What trying all backbones comes to.

    Attributes
    ----------
    X : dict of str to ndarray
        Model → embeddings of the pool.
    embed_s : float
        Of the items that train, with all backbones.
    """

    X: dict[str, NDArray[np.float32]]
    embed_s: float


@dataclass(frozen=True, slots=True)
class _Choice:
    """One seed: accuracies of all, what was chosen, and the seconds of both ways."""

    accuracies: dict[str, float]
    chosen: str
    all_s: float
    compare_s: float

    @property
    def regret(self) -> float:
        """Points lost."""
        return 100 * (max(self.accuracies.values()) - self.accuracies[self.chosen])


def _rows(case: Case, seeds: int) -> Iterator[dict[str, Any]]:
    name = f"backbone choice, {case.name}: regret"
    try:
        pool = case.pool()
    except Unavailable as error:
        yield rows.not_run(name, f"{COMMAND} ({error})")
        return
    models = case.models()
    everything = _embed_all(case, pool, models)
    found = [_choice(case, pool, everything, seed) for seed in range(seeds)]
    wanted = rows.targets("choice")
    regrets = [each.regret for each in found]
    shares = [each.compare_s / each.all_s for each in found]
    best = {model: statistics.mean(each.accuracies[model] for each in found) for model in models}
    shown = ", ".join(f"{_short(model)} {value:.4f}" for model, value in best.items())
    picks = ", ".join(_short(each.chosen) for each in found)
    note = (
        f"{case.train:,} items train, {case.test:,} test, {len(found)} seeds; accuracy of "
        f"LogisticRegressionCV on each: {shown}; chosen: {picks}; "
        f"worst regret {max(regrets):.2f} points"
    )
    value = statistics.mean(regrets)
    yield rows.row(
        name,
        round(value, 3),
        unit=f"points (standard error {rows.standard_error(regrets):.3f})",
        threads=THREADS,
        note=note,
        **rows.at_most(value, wanted["regret_points_max"]),
    )
    share = statistics.mean(shares)
    seconds = f"{statistics.mean(e.compare_s for e in found):.1f} s of"
    yield rows.row(
        f"backbone choice, {case.name}: cost",
        round(share, 4),
        unit="of trying all",
        threads=THREADS,
        note=(
            f"{seconds} {statistics.mean(e.all_s for e in found):.0f} s, both from empty caches; "
            "trying all embeds with one backbone after the other"
        ),
        **rows.at_most(share, wanted["cost_share_max"]),
    )


def _embed_all(case: Case, pool: list[Labelled], models: list[str]) -> _All:
    table = _write(case, pool, np.arange(len(pool)), train=len(pool))
    X, seconds = {}, 0.0
    for model in models:
        out = rounds.place(f"choice-{_short(model)}")
        ran = drive.embed(table, model, out, threads=THREADS)
        seconds += ran["seconds"]
        X[model] = _in_order(out, len(pool))
        print(f"  {case.name}: {_short(model)} {ran['seconds']:.0f} s", file=sys.stderr, flush=True)
    return _All(X, seconds * case.train / len(pool))


def _in_order(out: Path, n: int) -> NDArray[np.float32]:
    """Return the vectors of all items in the order of the pool; zeros of what was skipped."""
    import featx

    found = featx.open(out)
    X = np.zeros((n, found.dim), dtype=np.float32)
    X[[int(item_id[1:]) for item_id in found.ids]] = found.X[:]
    return X


def _choice(case: Case, pool: list[Labelled], everything: _All, seed: int) -> _Choice:
    order = np.random.default_rng(seed).permutation(len(pool))
    train, test = order[: case.train], order[case.train :]
    y = np.array([label for _, label in pool])
    accuracies, fit_s = {}, 0.0
    for model, X in everything.X.items():
        accuracies[model], took_s = _accuracy(X[train], y[train], X[test], y[test])
        fit_s += took_s
    all_s = everything.embed_s + fit_s
    table = _write(case, pool, order, train=case.train)
    budget = max(1.0, rows.targets("choice")["cost_share_max"] * all_s - START_S)
    found = _compared(table, list(everything.X), budget, seed)
    named = {_short(model): model for model in everything.X}
    made = _Choice(accuracies, named[found["best"]], all_s, found["whole_s"])
    print(
        f"  {case.name}, seed {seed}: {found['best']}, regret {made.regret:.2f}, "
        f"{made.compare_s:.1f} of {all_s:.0f} s; {json.dumps(found['items'])}",
        file=sys.stderr,
        flush=True,
    )
    return made


def _compared(table: Path, models: list[str], budget: float, seed: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "featx", "compare", str(table), "--json", "--quiet"]
    command += [part for model in models for part in ("-m", model)]
    command += ["--budget", f"{budget:.1f}", "--seed", str(seed), "--device", "cpu"]
    command += ["--threads", str(THREADS), "--cache-dir", str(rounds.place("choice-cache"))]
    return drive.run(command, threads=THREADS)


def _accuracy(
    X: NDArray[np.float32],
    y: NDArray[np.str_],
    X_test: NDArray[np.float32],
    y_test: NDArray[np.str_],
) -> tuple[float, float]:
    """Return the accuracy of LogisticRegressionCV, and the seconds of its fit."""
    from sklearn.linear_model import LogisticRegressionCV

    started_s = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of defaults that will be others
        head = LogisticRegressionCV(max_iter=1000, n_jobs=THREADS).fit(X, y)
    seconds = time.perf_counter() - started_s
    return float((head.predict(X_test) == y_test).mean()), seconds


def _write(case: Case, pool: list[Labelled], order: NDArray[np.int64], *, train: int) -> Path:
    """Write items in an order, the first of which train, and return the place of the table."""
    folder = rounds.place(f"choice-{case.column}")
    folder.mkdir()
    with (folder / "items.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", case.column, "label", "split"])
        for place, number in enumerate(order):
            content, label = pool[number]
            writer.writerow([f"i{number}", content, label, "train" if place < train else "test"])
    return folder / "items.csv"


def _short(model: str) -> str:
    return Path(model).stem if model.endswith(".toml") else model
