"""Comparing backbones: samples, rounds, ranks, what is level, and what helps."""

import math
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import comparing
from featx.backbone.backbone import Backbone
from featx.data.sources import open_source
from featx.data.sources.options import DescribedSource
from featx.errors import InputError
from featx.evaluate.paired import Paired
from featx.transfer.compare.comparison import Comparison
from featx.transfer.compare.contestant import Contestant
from featx.transfer.compare.embedder import Embedder
from featx.transfer.compare.mixes import try_mixes
from featx.transfer.compare.pool import list_labelled, nested_order
from featx.transfer.compare.race import Round
from featx.transfer.compare.recipe import Recipe
from featx.transfer.compare.run import compare
from featx.transfer.compare.sample import Sample
from featx.transfer.compare.standing import pareto_front
from tiny_graphs import model_of, node, tiny_manifest


def opened(folder: Path, **columns: Sequence[int]) -> list[Backbone]:
    return [
        comparing.backbone(comparing.seeing(folder / "zoo", name, seen))
        for name, seen in columns.items()
    ]


def source_of(path: Path) -> DescribedSource:
    return open_source(path, modality="array")


def table(path: Path, *rows: str) -> DescribedSource:
    path.write_text("\n".join(["id,text,label,split", *rows]) + "\n", encoding="utf-8")
    return open_source(path, modality="text")


def compared(folder: Path, n: int = 300, recipe: Recipe | None = None) -> Comparison:
    """Compare backbones that see all, half, and nothing of what tells the classes apart."""
    source = source_of(comparing.save_items(folder / "items.npz", n))
    backbones = opened(folder, half=range(4, 12), none=range(12, 20), whole=range(8))
    return compare(source, backbones, recipe)


def test_the_backbone_that_sees_most_is_first_and_the_blind_one_last(tmp_path: Path) -> None:
    found = compared(tmp_path)

    assert [each.name for each in found.standings] == ["whole", "half", "none"]
    whole, half, none = found.standings
    assert whole.accuracy > 0.8 > half.accuracy > 0.45 > none.accuracy
    assert (found.compared, found.looked_at, found.classes) == (300, 300, 3)
    assert (whole.is_level, half.is_level, none.is_level) == (True, False, False)
    assert found.verdict()[0] == "whole is the best of 3, by more than chance on 300 items"
    assert whole.dim == 8
    assert whole.size_bytes == (tmp_path / "zoo" / "whole.onnx").stat().st_size


def test_the_accuracy_is_that_of_refitting_without_each_item(tmp_path: Path) -> None:
    found = compared(tmp_path, n=60)

    X, labels = comparing.items(60)
    _, y = np.unique(labels, return_inverse=True)
    seen, best = X[:, :8].astype(np.float64), 0.0
    scale = np.linalg.eigvalsh(np.cov(seen.T) * 59).mean()
    for alpha in np.logspace(-3, 3, 13) * scale:
        hits = 0
        for i in range(60):
            rest = np.arange(60) != i
            A, T = seen[rest] - seen[rest].mean(0), np.eye(3)[y[rest]]
            W = np.linalg.solve(A.T @ A + alpha * np.eye(8), A.T @ T)
            hits += ((seen[i] - seen[rest].mean(0)) @ W + T.mean(0)).argmax() == y[i]
        best = max(best, hits / 60)
    assert found.best.accuracy == pytest.approx(best)


def test_what_the_best_gets_right_is_compared_item_by_item(tmp_path: Path) -> None:
    found = compared(tmp_path)

    whole, half, _ = found.standings
    assert whole.beside == Paired(300, 0, 0)
    assert half.beside.n == 300
    assert half.beside.difference == pytest.approx(half.accuracy - whole.accuracy)


def test_backbones_of_the_same_information_are_level(tmp_path: Path) -> None:
    source = source_of(comparing.save_items(tmp_path / "items.npz", 200, spread=2))
    manifests = [comparing.seeing(tmp_path, f"turned{k}", range(8), seed=k) for k in range(2)]

    found = compare(source, [comparing.backbone(each) for each in manifests])

    first, second = found.standings
    assert first.accuracy == second.accuracy
    assert found.level == (second,)
    assert found.verdict()[0] == (
        f"{first.name} is first, but cannot be told apart from {second.name}"
        f" on {found.compared} items"
    )
    assert found.verdict()[1].endswith(": take it")  # whichever is faster
    assert first.logme >= second.logme
    assert first.logme == pytest.approx(second.logme, abs=1e-5)


def test_backbones_within_a_standard_error_of_the_leader_are_tied(tmp_path: Path) -> None:
    backbones = opened(tmp_path, most=range(8), near=range(4, 12), far=range(12, 20))
    racing = tuple(map(Contestant, backbones))
    right = np.arange(100)
    hits = right < 60, (right >= 3) & (right < 62), right < 50

    found = Round(size=100, sample=Sample((), np.array([0, 1])), contestants=racing, hits=hits)

    # Of 100 items 3 are lost and 2 won: a difference of .01, its standard error .02.
    assert found.leader is racing[0]
    assert [found.is_tied(each) for each in racing] == [True, True, False]
    assert found.survivors() == [racing[0], racing[1]]


def test_each_cheap_head_is_measured(tmp_path: Path) -> None:
    whole = compared(tmp_path).best

    assert list(whole.heads) == ["ridge", "lda", "knn", "centroid"]
    assert min(whole.heads.values()) > 0.7
    assert whole.heads["ridge"] == whole.accuracy


@pytest.mark.parametrize("labels", [2, 3, 4, 10])
def test_few_labels_a_class_have_the_cheap_heads_too(tmp_path: Path, labels: int) -> None:
    whole = compared(tmp_path, n=3 * labels, recipe=Recipe(is_whole=True)).best

    X, names = comparing.items(3 * labels)
    Z, y, hits = X[:, :8] - X[:, :8].mean(axis=0), np.array(names), 0
    Z /= np.linalg.norm(Z, axis=1, keepdims=True)
    for i in range(len(Z)):
        rest = np.arange(len(Z)) != i
        means = np.stack([Z[rest & (y == name)].mean(axis=0) for name in np.unique(y)])
        hits += np.unique(y)[np.square(means - Z[i]).sum(axis=1).argmin()] == y[i]
    assert list(whole.heads) == ["ridge", "lda", "knn", "centroid"]
    assert whole.heads["centroid"] == pytest.approx(hits / len(Z))


def test_classes_of_one_item_are_no_error(tmp_path: Path) -> None:
    X, _ = comparing.items(5)
    np.savez(tmp_path / "items.npz", X=X, y=np.array(["a", "a", "b", "c", "d"]))

    found = compare(source_of(tmp_path / "items.npz"), opened(tmp_path, a=range(8), b=range(8, 16)))

    assert all(len(each.heads) == 4 and each.n == 5 for each in found.standings)
    assert max(each.hits for each in found.standings) <= 2


def test_a_sample_has_all_classes_in_proportion(tmp_path: Path) -> None:
    found = compared(tmp_path, n=900, recipe=Recipe(rows=90))

    assert (found.labelled, found.looked_at, found.compared) == (900, 90, 90)
    y = np.repeat([0, 1, 2], [600, 90, 3])
    order = nested_order(y, seed=3)
    assert sorted(order.tolist()) == list(range(693))
    assert np.bincount(y[order[:6]]).tolist() == [2, 2, 2]
    for size in (50, 200, 500):
        shares = np.bincount(y[order[:size]])
        assert abs(shares[0] - 600 * size / 693) < 4


def test_a_budget_drops_what_is_surely_worse_and_shows_the_others_all_items(
    tmp_path: Path,
) -> None:
    source = source_of(comparing.save_items(tmp_path / "items.npz", 300))
    manifests = [comparing.seeing(tmp_path, f"turned{k}", range(8), seed=k) for k in range(2)]
    backbones = [*opened(tmp_path, none=range(12, 20)), *map(comparing.backbone, manifests)]

    found = compare(source, backbones, Recipe(budget_s=600))

    first, second, none = found.standings
    assert (none.name, none.is_dropped, none.n) == ("none", True, 64)
    assert none.beside.n == 64
    assert not none.is_level
    assert list(none.heads) == list(first.heads) == ["ridge", "lda", "knn", "centroid"]
    assert {first.name, second.name} == {"turned0", "turned1"}
    assert found.looked_at == 300
    assert first.n == second.n == found.compared > 295


def test_a_race_ends_when_one_is_left(tmp_path: Path) -> None:
    found = compared(tmp_path, n=1500, recipe=Recipe(budget_s=600))

    assert (found.looked_at, found.best.name, found.level) == (64, "whole", ())


def test_a_budget_of_nothing_still_gives_an_answer(tmp_path: Path) -> None:
    found = compared(tmp_path, n=300, recipe=Recipe(budget_s=1e-9))

    assert found.best.name == "whole"
    assert found.looked_at == 64
    assert list(found.best.heads) == ["ridge"]
    assert found.mixes == ()
    assert found.notes == (
        "time was over before other heads were fitted to all backbones",
        "time was over before speeds were measured",
        "time was over before all joined and reduced embeddings were tried",
    )
    assert [each.items_per_s for each in found.standings] == [0, 0, 0]
    assert [each.facts()["items_per_s"] for each in found.standings] == [None] * 3
    assert not any(each.is_on_front for each in found.standings)
    assert found.fastest is found.best
    assert found.facts()["fastest"] is None


def test_what_guesses_as_well_is_told(tmp_path: Path) -> None:
    source = source_of(comparing.save_items(tmp_path / "items.npz", 90))

    found = compare(source, list(opened(tmp_path, none=range(12, 20), more=range(16, 24))))

    share = f"{found.best.accuracy:.3f} of {found.best.name}"
    assert found.notes[0] == (
        f"accuracy {share} may be no better than naming the commonest class, 0.333"
    )


def test_the_same_seed_gives_the_same(tmp_path: Path) -> None:
    recipe = Recipe(rows=100, seed=5)

    first, second = compared(tmp_path, recipe=recipe), compared(tmp_path, recipe=recipe)

    assert [each.hits for each in first.standings] == [each.hits for each in second.standings]
    assert [each.logme for each in first.standings] == [each.logme for each in second.standings]


def test_an_item_that_one_backbone_cannot_embed_is_left_out_for_all(tmp_path: Path) -> None:
    X, y = comparing.items(60)
    folder = tmp_path / "items"
    for number, (row, label) in enumerate(zip(X, y, strict=True)):
        place = folder / label / f"{number:02}.npy"
        place.parent.mkdir(parents=True, exist_ok=True)
        np.save(place, row if number else np.full_like(row, np.nan))

    found = compare(source_of(folder), opened(tmp_path, whole=range(8), none=range(12, 20)))

    assert (found.compared, found.skipped) == (59, 1)
    assert {each.n for each in found.standings} == {59}
    ((item_id, problem),) = found.problems.items()
    assert item_id == "class 0/00.npy"
    assert problem.startswith("holds 24 values that are not finite")


@pytest.mark.parametrize(("place", "n_skipped"), [(29, 1), (30, 0), (None, 0)])
def test_an_unreadable_item_counts_where_it_is_looked_at(
    tmp_path: Path, place: int | None, n_skipped: int
) -> None:
    X, y = comparing.items(90)
    names = [f"{'train' if n < 60 else 'test'}/{name}/{n}.npy" for n, name in enumerate(y)]

    def save(broken: str = "") -> DescribedSource:
        with tarfile.open(tmp_path / "x.tar", "w") as archive:
            for name, row in zip(names, X, strict=True):
                np.save(tmp_path / "row.npy", row)
                archive.add(tmp_path / "row.npy", name)
                if f"x.tar/{name}" == broken:
                    archive.add(tmp_path / "no.json", name.replace(".npy", ".json"))
        return source_of(tmp_path / "x.tar")

    (tmp_path / "no.json").write_text("{")

    order = list_labelled(save()).ids
    broken = "x.tar/test/class 1/70.npy" if place is None else order[place]

    backbones = opened(tmp_path, whole=range(8), none=range(12, 20))
    found = compare(save(broken), backbones, Recipe(rows=30))

    assert (found.looked_at, found.compared, found.skipped) == (30, 30 - n_skipped, n_skipped)
    assert list(found.problems) == [broken] * n_skipped
    assert not any(each.endswith(("(whole)", "(none)")) for each in found.problems.values())


def test_items_that_are_equal_count_once(tmp_path: Path) -> None:
    X, y = comparing.items(60)
    np.savez(tmp_path / "items.npz", X=np.concatenate([X, X[:9]]), y=np.array(y + y[:9]))

    backbones = opened(tmp_path, whole=range(8), none=range(12, 20))
    found = compare(source_of(tmp_path / "items.npz"), backbones)

    assert (found.looked_at, found.compared, found.skipped) == (69, 60, 0)
    assert found.notes[0] == "9 items that are nearly equal to others were left out"


def test_halves_that_know_different_things_are_better_joined(tmp_path: Path) -> None:
    source = source_of(comparing.save_items(tmp_path / "items.npz", 600, spread=1.5))
    halves = opened(tmp_path, left=range(4), right=range(4, 8))

    found = compare(source, halves)

    joined: Any = found.joined
    assert (set(joined.models), joined.dim) == ({"left", "right"}, 8)
    assert joined.gain.interval[0] > 0
    assert found.verdict()[-1].startswith(f"{joined.name} together are better: +")


def test_a_backbone_that_only_repeats_the_other_does_not_help(tmp_path: Path) -> None:
    source = source_of(comparing.save_items(tmp_path / "items.npz", 300))
    manifests = [comparing.seeing(tmp_path, f"turned{k}", range(8), seed=k) for k in range(2)]

    found = compare(source, [comparing.backbone(each) for each in manifests])

    assert found.joined is None


def test_few_components_are_enough_where_the_others_are_noise(tmp_path: Path) -> None:
    X, y = comparing.items(600, spread=0.2)
    X[:, 8:] *= 0.05
    np.savez(tmp_path / "items.npz", X=X, y=np.array(y))
    backbones = opened(tmp_path, all=range(24), none=range(12, 20))

    found = compare(source_of(tmp_path / "items.npz"), backbones)

    narrower: Any = found.narrower
    assert (narrower.dim, found.best.dim) == (12, 24)
    assert narrower.name == "all, 12 by PCA"


def test_each_of_several_tries_has_to_help_the_more_surely(tmp_path: Path) -> None:
    source = source_of(comparing.save_items(tmp_path / "items.npz", 90))
    manifests = [comparing.seeing(tmp_path, name, range(8)) for name in ("left", "right")]
    W = np.random.default_rng(0).normal(size=(comparing.WIDTH, 64)).astype(np.float32)
    model = model_of([node("MatMul", "x W", "y")], {"W": W}, shape=("n", comparing.WIDTH))
    wide = tiny_manifest(tmp_path, model, dim=64, shape=(comparing.WIDTH,), name="wide")

    sample = list_labelled(source)
    backbones = [Backbone(wide), *map(comparing.backbone, manifests)]
    raced = list(map(Contestant, backbones))
    groups = Embedder(source, tmp_path / "sets", cache=None).groups(raced, sample.ids)
    assert all(each.embed(sample.ids) for each in groups)
    mixes = list(try_mixes(Sample(sample.ids, sample.y), raced, seed=0))

    assert [(each.kind, each.dim) for each in mixes] == [
        ("joined", 72), ("joined", 72), ("reduced", 32), ("reduced", 16), ("reduced", 8),
    ]  # fmt: skip
    assert [each.confidence for each in mixes] == [1 - 0.05 / 2] * 2 + [1 - 0.05 / 3] * 3


def test_only_items_to_train_on_are_looked_at(tmp_path: Path) -> None:
    rows = [f"i{n},text {n},{'ab'[n % 2]},{'train' if n < 6 else 'test'}" for n in range(9)]

    pool = list_labelled(table(tmp_path / "x.csv", *rows, "u,no label,,train"))

    assert sorted(pool.ids) == ["i0", "i1", "i2", "i3", "i4", "i5"]
    assert pool.names == ("a", "b")
    assert [pool.names[code] for code in pool.y] == ["ab"[int(item[1]) % 2] for item in pool.ids]


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        (["1,x,,", "2,y,,"], "source: none of its 2 items has a label; put files into class"),
        (["1,x,a,", "2,y,a,"], "source: its 2 labelled items are of one class, 'a'; expected two"),
        (["1,x,a,", "2,y,b,"], "source: each of its 2 classes has one item; leaving an item out"),
        (["1,x,a,val", "2,y,b,test"], "source: all 2 labelled items are in split test, val; exp"),
    ],
)
def test_labels_that_nothing_can_be_learned_from_are_refused(
    tmp_path: Path, rows: list[str], problem: str
) -> None:
    with pytest.raises(InputError, match=problem):
        list_labelled(table(tmp_path / "x.csv", *rows))


def test_one_backbone_is_nothing_to_compare(tmp_path: Path) -> None:
    source = source_of(comparing.save_items(tmp_path / "items.npz", 9))

    with pytest.raises(InputError, match="compare: one backbone, whole; expected two or more"):
        compare(source, opened(tmp_path, whole=range(8)))


def test_items_that_no_backbone_can_embed_are_an_error_with_the_first_problem(
    tmp_path: Path,
) -> None:
    np.savez(tmp_path / "x.npz", X=np.ones((8, 5), np.float32), y=np.array(["a", "b"] * 4))

    backbones = opened(tmp_path, whole=range(8), none=range(12, 20))
    with pytest.raises(InputError, match=r"0 of 8 items could be embedded .* has shape \(5,\)"):
        compare(source_of(tmp_path / "x.npz"), backbones)


def test_fewer_rows_than_two_a_class_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="rows: found 5 for 3 classes; expected two a class, 6 or"):
        compared(tmp_path, recipe=Recipe(rows=5))


def test_the_front_is_what_no_other_beats_in_both() -> None:
    accuracies, speeds = [0.9, 0.8, 0.8, 0.7, 0.9], [10.0, 50, 20, 90, 10]

    assert pareto_front(accuracies, speeds) == [True, True, False, True, True]


@pytest.mark.parametrize(("wins", "losses"), [(0, 0), (9, 3), (40, 10), (2, 30), (100, 100)])
def test_a_difference_without_zero_is_what_an_exact_test_calls_significant(
    wins: int, losses: int
) -> None:
    pair = Paired(1000, wins, losses)

    low, high = pair.interval
    n, fewer = wins + losses, min(wins, losses)
    p_value = 2 * sum(math.comb(n, k) for k in range(fewer + 1)) / 2**n
    assert low <= pair.difference <= high
    assert (low > 0 or high < 0) == (p_value < 0.05)
    wider = pair.bounds(0.999)
    assert wider[0] <= low
    assert high <= wider[1]
