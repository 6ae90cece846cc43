"""Which rows of a set a head is fitted to, found without holding them: what all workers share."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from featx.data.rows import read_batches
from featx.data.segment import map_segment
from featx.data.store import EmbeddingSet
from featx.errors import InputError
from featx.train.material import HELD_BACK
from featx.types import Rows, Vectors

SAMPLE_ROWS = 50_000
"""Rows that are kept to calibrate and judge a head, about; all of a set that has fewer."""

RARE_ROWS = 20
"""Rows of each class that are kept, about, however rare it is; fewer of very many classes."""

T = TypeVar("T")

Each = Callable[[Callable[["Part"], T], Iterable["Part"]], Iterable[T]]
"""Applies a function to parts and yields the results, in any order: ``map``, or a cluster's."""

_GOLDEN = 0x9E3779B97F4A7C15  # SplitMix64 (Steele, Lea and Flood 2014)
_MIX = (0xBF58476D1CE4E5B9, 30), (0x94D049BB133111EB, 27)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A sealed segment of a set, which one worker reads.

    Attributes
    ----------
    folder : Path
    name : str
        Of the segment.
    items : str
        File of its facts.
    rows : int
    start : int
        Number, in the set, of its first row.
    dim : int
    """

    folder: Path
    name: str
    items: str
    rows: int
    start: int
    dim: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Which rows count, and what they are.

    Attributes
    ----------
    classes : tuple of str
        Sorted.
    counts : tuple of int
        Labelled rows of each.
    rows : int
        Of the set.
    unlabelled : int
    of_train : bool
        Whether only rows of split ``train`` count, since there are some; else all but those of
        ``test`` and ``val``.
    share : float
        Chance of a row of a common class to be in the sample; 1 where all are.
    kept : int
        Rows of a rarer class that are in the sample, about; all where it has no more.
    seed : int
        Of the sample.
    """

    classes: tuple[str, ...]
    counts: tuple[int, ...]
    rows: int
    unlabelled: int
    of_train: bool
    share: float
    kept: int
    seed: int

    @property
    def used(self) -> int:
        """Rows that count, but for those whose vectors are not finite."""
        return sum(self.counts)

    def chances(self) -> NDArray[np.float64]:
        """Return the chance of a row of each class to be in the sample, shape (C,)."""
        return np.clip(self.kept / np.array(self.counts), self.share, 1)

    def weights(self, codes: NDArray[np.int64]) -> NDArray[np.float64] | None:
        """Return how much rows of the sample count where they stand for the set; None if alike.

        A row of a common class counts 1, and one of a rare class less, as more of these are there
        than its share of the set (Horvitz and Thompson 1952).

        Parameters
        ----------
        codes : ndarray of int64, shape (n,)
            Classes of the rows.
        """
        chances = self.chances()
        return None if (chances == self.share).all() else self.share / chances[codes]

    def is_sampled(self, rows: Rows, chances: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return which rows of the set are in the sample.

        A row's number and its class alone decide, so that the sample is the same however the set
        is cut.

        Parameters
        ----------
        rows : ndarray of int64, shape (n,)
            Their numbers.
        chances : ndarray of float64, shape (n,)
            Of their classes; see `chances`.
        """
        keys = rows.astype(np.uint64) + np.uint64((self.seed + 1) * _GOLDEN % 2**64)
        keys *= np.uint64(_GOLDEN)
        for factor, shift in _MIX:
            keys = (keys ^ (keys >> np.uint64(shift))) * np.uint64(factor)
        keys ^= keys >> np.uint64(31)
        limits = (np.minimum(chances, 1 - 2**-53) * 2.0**64).astype(np.uint64)
        return np.asarray((keys < limits) | (chances >= 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Some rows that count.

    Attributes
    ----------
    rows : ndarray of int64, shape (n,)
        Their numbers in the set.
    X : ndarray of float32, shape (n, D)
    codes : ndarray of int64, shape (n,)
    facts : RecordBatch
        Ids, digests and labels.
    unfit : ndarray of int64
        Numbers of rows that would count if their vectors were finite.
    """

    rows: Rows
    X: Vectors
    codes: NDArray[np.int64]
    facts: pa.RecordBatch
    unfit: Rows


def parts_of(opened: EmbeddingSet) -> list[Part]:
    """Return the segments of a set."""
    folder = opened.path.absolute()  # tasks of a cluster run in a folder of their own
    parts, start = [], 0
    for segment in opened.manifest["segments"]:
        part = Part(
            folder=folder,
            name=str(segment["name"]),
            items=str(segment["items"]),
            rows=int(segment["rows"]),
            start=start,
            dim=opened.dim,
        )
        parts.append(part)
        start += part.rows
    return parts


def count_labels(part: Part) -> Counter[tuple[str | None, str | None]]:
    """Return how many rows of a segment have each label and split."""
    found: Counter[tuple[str | None, str | None]] = Counter()
    names = ["label", "split"]
    for batch in read_batches(part.folder / part.items, rows=part.rows, names=names):
        grouped = pa.Table.from_batches([batch]).group_by(names).aggregate([([], "count_all")])
        for row in grouped.to_pylist():
            found[row["label"], row["split"]] += row["count_all"]
    return found


def make_plan(
    opened: EmbeddingSet, each: Each[Any], *, seed: int, sample_rows: int = SAMPLE_ROWS
) -> Plan:
    """Return which rows of a set count: those of split ``train``, where there are splits.

    Raises
    ------
    InputError
        If there are fewer than two classes.
    """
    found = _found_labels(opened, each)
    by_class, of_train = _counted(found)
    if len(by_class) < 2:
        shown = ", ".join(map(repr, by_class)) or "none"
        message = (
            f"{opened.where}: labels to train on: {shown}; expected two classes or more, in split "
            "train or in none; run: featx label SET labels.csv"
        )
        raise InputError(message)
    used = sum(by_class.values())
    return Plan(
        classes=tuple(by_class),
        counts=tuple(by_class.values()),
        rows=len(opened),
        unlabelled=sum(n for (label, _), n in found.items() if label is None),
        of_train=of_train,
        share=1.0 if used <= sample_rows else sample_rows / used,
        kept=min(RARE_ROWS, sample_rows // len(by_class)),
        seed=seed,
    )


def count_used(opened: EmbeddingSet) -> int:
    """Return how many rows of a set a head would be fitted to; no vector is read."""
    return sum(_counted(_found_labels(opened, map))[0].values())


def _found_labels(opened: EmbeddingSet, each: Each[Any]) -> Counter[tuple[str | None, str | None]]:
    found: Counter[tuple[str | None, str | None]] = Counter()
    for counts in each(count_labels, parts_of(opened)):
        found.update(counts)
    return found


def _counted(
    found: Mapping[tuple[str | None, str | None], int],
) -> tuple[dict[str, int], bool]:
    """Return the rows of each class that count, and whether those of split train alone do."""
    labelled = {key: n for key, n in found.items() if key[0] is not None}
    of_train = any(split == "train" for _, split in labelled)
    by_class: Counter[str] = Counter()
    for (label, split), n in labelled.items():
        if split == "train" if of_train else split not in HELD_BACK:
            by_class[str(label)] += n
    return dict(sorted(by_class.items())), of_train


def labelled_blocks(part: Part, plan: Plan) -> Iterator[Block]:
    """Yield the rows of a segment that count, in blocks of at most 4,096.

    Raises
    ------
    StoreError
        If a file of the segment is missing or damaged.
    """
    X = map_segment(part.folder / f"{part.name}.npy", part.rows, part.dim)
    names = ["id", "digest", "label", "split"]
    classes = pa.array(plan.classes, pa.string())
    start = 0
    for batch in read_batches(part.folder / part.items, rows=part.rows, names=names):
        found: Any = pc.index_in(batch.column("label"), value_set=classes)
        codes = found.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
        kept = (codes >= 0) & _in_splits(batch.column("split"), of_train=plan.of_train)
        rows = X[start : start + batch.num_rows]
        is_finite = np.isfinite(rows).all(axis=1)
        unfit = np.flatnonzero(kept & ~is_finite) + part.start + start
        kept &= is_finite
        yield Block(
            rows=np.flatnonzero(kept) + part.start + start,
            X=rows if kept.all() else rows[kept],
            codes=codes[kept],
            facts=batch.filter(pa.array(kept)),
            unfit=unfit,
        )
        start += batch.num_rows


def _in_splits(splits: Any, *, of_train: bool) -> NDArray[np.bool_]:  # noqa: ANN401
    wanted = ["train"] if of_train else list(HELD_BACK)
    found: Any = pc.is_in(splits, value_set=pa.array(wanted, pa.string()))
    return np.asarray(found.to_numpy(zero_copy_only=False) == of_train)
