"""A head beside itself adapted: by each method, by ``auto``, and by one who knows the labels.

For each seed the items are dealt anew.  The head is trained as ``featx train`` does.  The target's
labels are seen by the oracle alone, a ridge head of as many labelled items of the target.  All are
scored on other items of the target.
"""

import statistics
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np

from bench import peers
from bench.support import drive, rounds, rows
from bench.support.memoryset import MemorySet
from bench.support.packages import Unavailable
from bench.support.places import WORKERS, python
from bench.support.transfer_domains import COMMAND as MAKE
from bench.support.transfer_domains import Domain
from bench.support.transfer_pairs import PAIRS, Dealt, Pair
from featx import RidgeProbe
from featx.heads.predict import Head
from featx.train.recipe import Recipe as HeadRecipe
from featx.train.train import train
from featx.transfer.adapt.adapt import adapt_head
from featx.transfer.adapt.domains import Source
from featx.transfer.adapt.methods import METHODS, fit_each
from featx.transfer.adapt.origin import read_source
from featx.transfer.adapt.recipe import Recipe

COMMAND = "python -m bench.transfer --only adapt"
QUICK = ("digits, half the contrast", "digits, as they are")
SHOWN = ("centre", "zscore", "coral", "prior", "selftrain", "centroids")
ROOM = 5.0  # points that an oracle must gain for a pair to count as one where adapting pays
GAIN = 0.5  # points by which auto gains there
THREADS = 2


@dataclass(frozen=True, slots=True)
class Found:
    """Accuracies of one seed, in per cent.

    Attributes
    ----------
    source, oracle, auto : float
    methods : dict of str to float
    chosen : str
        What ``auto`` did; empty where it refused.
    peer : dict
        What ``transfer_skada.py`` prints; empty without it.
    """

    source: float
    oracle: float
    auto: float
    methods: dict[str, float]
    chosen: str
    peer: dict[str, Any]


def measure(*, seeds: int, is_quick: bool = False) -> list[dict[str, Any]]:
    """Return a row for each pair, one for how often adapting paid, and those of skada.

    Parameters
    ----------
    seeds : int
    is_quick : bool
        Whether to do with two pairs.
    """
    has_peer = not is_quick and peers.is_made("skada")
    made: dict[Pair, list[Found]] = {}
    found = []
    for pair in PAIRS:
        name = f"{pair.name}: accuracy of auto{'; the rule was settled on it' * pair.is_seen}"
        if is_quick and pair.name not in QUICK:
            found.append(rows.not_run(name, COMMAND))
            continue
        try:
            made[pair] = [
                _one(pair, seed, has_peer=has_peer and not pair.is_seen) for seed in range(seeds)
            ]
            found.append(_row(name, made[pair]))
        except Unavailable as error:
            found.append(rows.not_run(name, f"{MAKE} ({error})"))
    unseen = {pair: each for pair, each in made.items() if not pair.is_seen}
    return [*found, _paid(unseen), *_of_peer(unseen, has_peer=has_peer)]


def _one(pair: Pair, seed: int, *, has_peer: bool) -> Found:
    dealt = pair.deal(seed)
    labelled, target = _named(dealt.source), _unlabelled(dealt.target)
    head = train(labelled, HeadRecipe(seed=seed))
    known = read_source(head, labelled, seed=seed)
    auto = adapt_head(head, target, source=labelled, recipe=Recipe(seed=seed))
    oracle = RidgeProbe().fit(dealt.target.X, dealt.target.y).predict(dealt.test.X)
    found = Found(
        source=_accuracy(head, dealt.test),
        oracle=100 * float((oracle == dealt.test.y).mean()),
        auto=_accuracy(auto.head, dealt.test),
        methods=dict(_by_methods(known, head, dealt)),
        chosen=auto.method or "",
        peer=_skada(dealt) if has_peer else {},
    )
    print(
        f"  {pair.name}, seed {seed}: source {found.source:.1f}, auto {found.auto:.1f} "
        f"({found.chosen or 'refused'}), oracle {found.oracle:.1f}",
        file=sys.stderr,
        flush=True,
    )
    return found


def _named(domain: Domain) -> MemorySet:
    return MemorySet(domain.X, np.array([f"class {code}" for code in domain.y], dtype=object))


def _unlabelled(domain: Domain) -> MemorySet:
    return MemorySet(domain.X, np.full(len(domain), None, dtype=object))


def _by_methods(known: Source, head: Head, dealt: Dealt) -> Iterator[tuple[str, float]]:
    wanted = np.array([f"class {code}" for code in dealt.test.y])
    for name, adapted in fit_each(METHODS, known, dealt.target.X):
        names = np.array(head.classes)[adapted.linear.codes(dealt.test.X)]
        yield name, 100 * float((names == wanted).mean())


def _accuracy(head: Head, test: Domain) -> float:
    names = np.array(head.classes)[head.logits(test.X).argmax(axis=1)]
    return 100 * float((names == [f"class {code}" for code in test.y]).mean())


def _skada(dealt: Dealt) -> dict[str, Any]:
    place = rounds.place("transfer-skada").with_suffix(".npz")
    np.savez(
        place,
        X=dealt.source.X,
        y=dealt.source.y,
        Z=dealt.target.X,
        Z_test=dealt.test.X,
        z_test=dealt.test.y,
    )
    command = [python("skada"), str(WORKERS / "transfer_skada.py"), str(place)]
    # Its small problems are solved faster by one thread than by several that wait for each other.
    return drive.run(command, threads=1)


def _row(name: str, found: list[Found]) -> dict[str, Any]:
    auto, source = ([getattr(each, side) for each in found] for side in ("auto", "source"))
    gains = [a - s for a, s in zip(auto, source, strict=True)]
    most = rows.targets("adapt")["points_below_source_max"]
    times = Counter(each.chosen or "refused" for each in found)
    methods = ", ".join(f"{name} {mean([f.methods[name] for f in found])}" for name in SHOWN)
    best = max(METHODS, key=lambda each: statistics.mean(f.methods[each] for f in found))
    return rows.row(
        name,
        round(statistics.mean(auto), 1),
        unit="%",
        peer="source head",
        peer_value=round(statistics.mean(source), 1),
        target=f">= source - {most:g}",
        ok=bool(statistics.mean(gains) >= -most),
        threads=THREADS,
        note=(
            f"{len(found)} seeds, mean ± standard error: source {mean(source)}, auto {mean(auto)}, "
            f"gain {mean(gains)}, oracle {mean([each.oracle for each in found])}; "
            f"auto: {', '.join(f'{what} {n}' for what, n in times.most_common())}; {methods}; "
            f"best in hindsight: {best} {mean([each.methods[best] for each in found])}"
        ),
    )


def _paid(made: dict[Pair, list[Found]]) -> dict[str, Any]:
    """Return the row that counts the pairs on which an oracle gains, and on which auto does."""
    name = "pairs on which auto gains, of those on which the oracle gains over 5 points"
    least = rows.targets("adapt")["gaining_pairs_min"]
    room = [
        pair
        for pair, found in made.items()
        if statistics.mean(each.oracle - each.source for each in found) > ROOM
    ]
    paying = [
        pair
        for pair in room
        if statistics.mean(each.auto - each.source for each in made[pair]) > GAIN
    ]
    refusals = sum(not each.chosen for found in made.values() for each in found)
    runs = sum(len(found) for found in made.values())
    return rows.row(
        name,
        len(paying),
        unit=f"of {len(room)}",
        **rows.at_least(len(paying), least),
        threads=THREADS,
        note=f"{', '.join(pair.name for pair in paying)}; auto refused {refusals} of {runs} runs",
    )


def _of_peer(made: dict[Pair, list[Found]], *, has_peer: bool) -> Iterator[dict[str, Any]]:
    """Yield rows of what skada's scorers would have chosen among its adapters."""
    if not has_peer:
        yield rows.not_run(
            "skada's scorers", f"python -m bench.peers skada && {COMMAND}", threads=THREADS
        )
        return
    runs = [(pair, each) for pair, found in made.items() for each in found]
    ours = statistics.mean(each.auto for _, each in runs)
    worst = min(_mean_of(found, lambda f: f.auto - f.source) for found in made.values())
    for scorer in runs[0][1].peer["chosen"]:

        def reached(each: Found, scorer: str = scorer) -> float:
            return 100 * float(each.peer["accuracy"][each.peer["chosen"][scorer]])

        def gained(each: Found) -> float:
            return reached(each) - 100 * float(each.peer["accuracy"]["none"])

        theirs = statistics.mean(reached(each) for _, each in runs)
        gains = {pair.name: _mean_of(found, gained) for pair, found in made.items()}
        low = min(gains, key=gains.__getitem__)
        own = ours - statistics.mean(each.source for _, each in runs)
        yield rows.row(
            f"accuracy over all pairs: auto, beside what skada's {scorer} chooses",
            round(ours, 1),
            unit="%",
            peer=f"skada 0.6.0, {scorer}",
            peer_value=round(theirs, 1),
            threads=THREADS,
            note=(
                f"mean of {len(made)} pairs that had no say in the rule; gain over the own source "
                f"head: ours {own:+.1f} points, worst pair {worst:+.1f}; skada's "
                f"{statistics.mean(gains.values()):+.1f}, worst pair "
                f"{gains[low]:+.1f} ({low}); its head is logistic regression, C = 10, its adapters "
                f"{', '.join(runs[0][1].peer['accuracy'])}"
            ),
        )


def _mean_of(found: list[Found], of: Callable[[Found], float]) -> float:
    return statistics.mean(of(each) for each in found)


def mean(values: list[float]) -> str:
    """Return mean ± standard error."""
    error = statistics.stdev(values) / sqrt(len(values)) if len(values) > 1 else float("nan")
    return f"{statistics.mean(values):.1f} ± {error:.1f}"
