"""Two real data sets on which fine-tuning may pay: frozen and tuned on items that neither saw.

For each seed the items are dealt anew into those that train, that judge and that test; the command
is the user's own, and what it says of the test split is taken, whatever it is.
"""

import csv
import json
import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np

from bench.support import drive, labelled, rounds, rows, tools
from bench.support.labelled import Labelled
from bench.support.packages import Unavailable
from bench.support.places import RUNS

THREADS, POOL_SEED = 2, 20261126
COMMAND = "python -m bench.finetune --only cases"
TRAIN, VAL, TEST = 800, 200, 1000


@dataclass(frozen=True, slots=True)
class Case:
    """Labelled items and a backbone for them.

    Attributes
    ----------
    name : str
        For the rows.
    key : str
        Of the files.
    model : str
    column : str
        Of the table, ``text`` or ``image``.
    items : callable
        Returns all items, always in the same order.
    options : tuple of str
        Of ``featx finetune``.
    """

    name: str
    key: str
    model: str
    column: str
    items: Callable[[], list[Labelled]]
    options: tuple[str, ...] = ()

    def pool(self) -> list[Labelled]:
        """Return the items that are dealt, in a fixed order."""
        return labelled.drawn(self.items(), TRAIN + VAL + TEST, seed=POOL_SEED)


def texts() -> list[Labelled]:
    lines = labelled.texts().read_text(encoding="utf-8").splitlines()
    return [(row["text"], row["label"]) for row in map(json.loads, lines)]


def images() -> list[Labelled]:
    return [(str(path), path.parent.name) for path in sorted(labelled.images().glob("*/*"))]


CASES = (
    Case("clip art, 10 classes", "clipart", tools.IMAGE, "image", images),
    Case("texts, 10 classes", "texts", tools.TEXT, "text", texts),
)


def measure(*, seeds: int, is_quick: bool = False) -> list[dict[str, Any]]:
    """Return rows: mean test accuracy and its standard error, frozen and tuned.

    Parameters
    ----------
    seeds : int
    is_quick : bool
        Whether to say only how they are measured.
    """
    return [row for case in CASES for row in _rows(case, seeds, is_quick=is_quick)]


def _rows(case: Case, seeds: int, *, is_quick: bool) -> Iterator[dict[str, Any]]:
    name = f"{case.name}, {TRAIN:,} items: test accuracy after fine-tuning"
    if is_quick:
        yield rows.not_run(name, COMMAND)
        return
    try:
        pool = case.pool()
    except Unavailable as error:
        yield rows.not_run(name, f"{COMMAND} ({error})")
        return
    yield _row(case, name, [_tuned(case, pool, seed) for seed in range(seeds)])


def _tuned(case: Case, pool: list[Labelled], seed: int) -> dict[str, Any]:
    """Deal the items, tune, and return the command's report."""
    folder = rounds.place(f"finetune-{case.key}")
    folder.mkdir()
    table = folder / "items.csv"
    _write(table, case.column, pool, seed)
    command = [sys.executable, "-m", "featx", "finetune", str(table), "-m", case.model]
    command += ["-o", str(folder / "tuned.onnx"), "--json", "--quiet", "--seed", str(seed)]
    command += ["--device", "cpu", "--threads", str(THREADS)]
    command += ["--cache-dir", str(RUNS / "finetune-cache"), *case.options]
    found = drive.run(command, threads=THREADS)
    frozen, tuned = found["test"]["frozen"]["accuracy"], found["test"]["finetuned"]["accuracy"]
    print(
        f"  {case.name}, seed {seed}: frozen {frozen:.4f}, tuned {tuned:.4f}, "
        f"{'kept' if found['tuned'] else 'not kept'}, {found['whole_s']:.0f} s",
        file=sys.stderr,
        flush=True,
    )
    return found


def _write(table: Path, column: str, pool: list[Labelled], seed: int) -> None:
    split = ["train"] * TRAIN + ["val"] * VAL + ["test"] * (len(pool) - TRAIN - VAL)
    order = np.random.default_rng(seed).permutation(len(pool))
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", column, "label", "split"])
        for place, number in enumerate(order):
            content, label = pool[number]
            writer.writerow([f"i{number:05}", content, label, split[place]])


def _row(case: Case, name: str, found: list[dict[str, Any]]) -> dict[str, Any]:
    frozen = [each["test"]["frozen"]["accuracy"] for each in found]
    tuned = [each["test"]["finetuned"]["accuracy"] for each in found]
    kept = [t if each["tuned"] else f for each, f, t in zip(found, frozen, tuned, strict=True)]
    gains = [100 * (k - f) for f, k in zip(frozen, kept, strict=True)]
    n_kept = sum(each["tuned"] for each in found)
    seconds = statistics.median(each["whole_s"] for each in found)
    note = (
        f"{case.model}, one block, {VAL} items judge, {TEST:,} test; {len(found)} seeds, "
        f"mean and standard error: frozen {_mean(frozen)}, tuned {_mean(tuned)}, what is kept "
        f"{_mean(kept)}; gain of that {_mean(gains, 2)} points; the tuned one is kept "
        f"{n_kept} times; {seconds:.0f} s a run"
    )
    value, peer = statistics.mean(kept), statistics.mean(frozen)
    return rows.row(
        name,
        round(value, 4),
        peer="frozen head",
        peer_value=round(peer, 4),
        ratio=round(value / peer, 3),
        threads=THREADS,
        note=note,
    )


def _mean(values: list[float], digits: int = 4) -> str:
    """Return mean ± standard error."""
    error = statistics.stdev(values) / sqrt(len(values)) if len(values) > 1 else float("nan")
    return f"{statistics.mean(values):.{digits}f} ± {error:.{digits}f}"
