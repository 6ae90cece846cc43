"""Conformal sets cover as often as they promise, and agree with the papers' definitions."""

import numpy as np
import pytest
from numpy.typing import NDArray

from featx.errors import InputError, UnknownNameError
from featx.heads.calibration import softmax
from featx.heads.conformal import (
    Conformal,
    Method,
    bound_at,
    conformal_of,
    fit_conformal,
    item_jitter,
    row_jitter,
)
from featx.heads.predict import Head

SPLITS = 20
N_HELD_OUT = 500
NEAR = 0.01  # one point: what the mean over the splits may miss


def classified(
    n: int, n_classes: int = 5, seed: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Give boastful probabilities of classes that differ in size and difficulty."""
    rng = np.random.default_rng(seed)
    codes = rng.choice(n_classes, size=n, p=np.arange(1, n_classes + 1) / (n_classes * 3))
    logits = rng.normal(size=(n, n_classes))
    logits[np.arange(n), codes] += 1 + 0.5 * codes
    return softmax(2 * logits), codes


def coverage_of_splits(
    method: Method, coverage: float, n_held_out: int = N_HELD_OUT
) -> tuple[float, NDArray[np.float64]]:
    """Return the mean coverage of all items and of each class over the splits."""
    size = n_held_out + 2500
    probabilities, codes = classified(SPLITS * size)
    jitter = item_jitter([str(row) for row in range(len(codes))])
    hits, n_held = np.zeros((SPLITS, 5)), np.zeros((SPLITS, 5))
    for split in range(SPLITS):
        held_out = slice(size * split, size * split + n_held_out)
        new = slice(held_out.stop, size * (split + 1))
        made = fit_conformal(
            probabilities[held_out],
            codes[held_out],
            method=method,
            coverage=coverage,
            jitter=jitter[held_out],
        )
        sets = made.sets(probabilities[new], jitter[new])
        covered = sets[np.arange(len(sets)), codes[new]]
        hits[split] = np.bincount(codes[new], covered, minlength=5)
        n_held[split] = np.bincount(codes[new], minlength=5)
    overall = float((hits.sum(axis=1) / n_held.sum(axis=1)).mean())
    return overall, (hits / n_held).mean(axis=0)


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95])
@pytest.mark.parametrize("method", ["lac", "aps"])
def test_sets_cover_as_promised(method: Method, coverage: float) -> None:
    overall, _ = coverage_of_splits(method, coverage)

    assert overall == pytest.approx(coverage, abs=NEAR)


def test_sets_of_a_class_each_cover_every_class() -> None:
    # The smallest class has a fifteenth of the items: 500.
    _, of_classes = coverage_of_splits("class", 0.9, 15 * N_HELD_OUT)

    assert of_classes.min() >= 0.9 - NEAR


def test_one_quantile_for_all_leaves_a_hard_class_uncovered() -> None:
    _, of_classes = coverage_of_splits("lac", 0.9)

    assert of_classes.min() < 0.8


def test_aps_sets_are_the_papers() -> None:
    probabilities, codes = classified(200)
    jitter = item_jitter([str(row) for row in range(200)])

    made = fit_conformal(probabilities, codes, method="aps", jitter=jitter)

    expected = [
        paper_set(*row, made.quantiles[0]) for row in zip(probabilities, jitter, strict=True)
    ]
    np.testing.assert_array_equal(made.sets(probabilities, jitter), expected)


def paper_set(likely: NDArray[np.float64], jitter: float, tau: float) -> NDArray[np.bool_]:
    """Return the set S(x, u; pi, tau) of Romano, Sesia and Candès, equation 5."""
    order = np.argsort(-likely)
    ranked = likely[order]
    last = int(np.argmax(ranked.cumsum() >= tau))
    excess = (ranked.cumsum()[last] - tau) / ranked[last]
    # Their u drops the last class where it is small, ours where it is large.
    size = last if 1 - jitter <= excess else last + 1
    return np.isin(np.arange(len(likely)), order[:size])


def test_the_quantile_has_the_rank_of_the_papers() -> None:
    probabilities, codes = classified(137)

    made = fit_conformal(probabilities, codes, coverage=0.8)

    misfits = np.sort(1 - probabilities[np.arange(137), codes])
    assert made.quantiles.tolist() == [misfits[int(np.ceil(138 * 0.8)) - 1]]


def test_a_rank_that_is_whole_is_not_rounded_up() -> None:
    likely = np.linspace(0.99, 0.01, 99)
    probabilities = np.column_stack([likely, 1 - likely])

    made = fit_conformal(probabilities, np.zeros(99, dtype=np.int64), coverage=0.55)

    assert 100 * 0.55 > 55
    assert made.quantiles.tolist() == [1 - likely[54]]


@pytest.mark.parametrize("method", ["lac", "aps", "class"])
def test_too_few_items_put_everything_in_the_set(method: Method) -> None:
    probabilities, codes = np.array([[1.0, 0.0]] * 8), np.zeros(8, dtype=np.int64)

    made = fit_conformal(probabilities, codes, method=method, jitter=np.zeros(8))

    assert np.isfinite(made.quantiles).all()
    assert made.sets(np.array([[1.0, 0.0]]), np.array([0.999])).all()


def test_a_class_with_too_few_items_is_in_every_set() -> None:
    probabilities = np.array([[0.9, 0.1, 0.0]] * 40 + [[0.0, 0.1, 0.9]] * 3)
    codes = np.array([0] * 40 + [2] * 3)

    made = fit_conformal(probabilities, codes, method="class")

    np.testing.assert_allclose(made.quantiles, [0.1, 1, 1])


def test_a_set_may_be_empty() -> None:
    made = Conformal(method="lac", coverage=0.5, quantiles=np.array([0.2]))
    random = Conformal(method="aps", coverage=0.5, quantiles=np.array([0.2]))
    torn = np.array([[0.5, 0.5]])

    assert not made.sets(torn, np.zeros(1)).any()
    assert random.sets(torn, np.zeros(1)).tolist() == [[True, False]]
    assert not random.sets(torn, np.array([0.9])).any()


def test_jitter_is_uniform_and_belongs_to_the_item() -> None:
    jitter = item_jitter([f"picture {row}.png" for row in range(10_000)])

    np.testing.assert_allclose(np.quantile(jitter, [0.1, 0.5, 0.9]), [0.1, 0.5, 0.9], atol=0.02)
    assert item_jitter(["picture 7.png"])[0] == jitter[7]
    assert item_jitter(["lone \ud800 surrogate"]).shape == (1,)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_jitter_of_a_row_does_not_see_layout_dtype_or_the_sign_of_zero(dtype: str) -> None:
    X = np.array([[0.5, 0.0, 2.0], [1.0, -3.0, 0.25]])
    expected = row_jitter(X.astype(np.float32))

    same: NDArray[np.floating] = np.asfortranarray(X).astype(dtype)
    same[0, 1] = -0.0

    np.testing.assert_array_equal(row_jitter(same), expected)
    assert expected[0] != expected[1]


def test_members_of_a_set_come_most_probable_first_and_equals_in_order() -> None:
    rng = np.random.default_rng(0)
    # Few different values, so that many are equal.
    coef = rng.integers(-2, 3, size=(300, 2)).astype(np.float64)
    head = Head(
        kind="ridge",
        classes=tuple(f"c{code:03d}" for code in range(300)),
        arrays={"coef": coef, "intercept": np.zeros(300)},
        conformal=Conformal(method="lac", coverage=0.9, quantiles=np.array([0.995])),
    )
    X = rng.normal(size=(20, 2))

    for row, item in zip(head.probabilities(X), head.predict(X), strict=True):
        order = [code for code in np.argsort(-row, kind="stable") if 1 - row[code] <= 0.995]
        assert item.set == tuple(head.classes[code] for code in order)
        assert item.label == head.classes[int(row.argmax())]


def test_bad_arguments_are_refused_with_what_is_allowed() -> None:
    probabilities, codes = classified(20)

    with pytest.raises(InputError, match=r"coverage: found 1; must be above 0 and below 1"):
        fit_conformal(probabilities, codes, coverage=1)
    with pytest.raises(InputError, match="'aps': no jitter"):
        fit_conformal(probabilities, codes, method="aps")
    with pytest.raises(UnknownNameError, match="unknown conformal method 'apz'; did you mean"):
        fit_conformal(probabilities, codes, method="apz")  # type: ignore[arg-type]


def test_values_that_weigh_alike_are_bounded_as_without_weights() -> None:
    values = np.random.default_rng(0).random(99)

    for share in (0.1, 0.5, 0.9, 0.99):
        wanted = bound_at(values, share, np.inf)
        assert bound_at(values, share, np.inf, np.ones(99)) == wanted
        assert bound_at(np.repeat(values, 2), share, np.inf, np.full(198, 0.5)) == wanted
    assert bound_at(values, 0.995, np.inf, np.ones(99)) == np.inf


def test_sets_of_weighted_rows_cover_items_that_are_drawn_like_the_set() -> None:
    covered = []
    for seed in range(SPLITS):
        likely, codes = classified(4000, seed=seed)
        chances = np.where(codes == 0, 1, 0.1)  # the smallest class is there ten times too often
        kept = np.random.default_rng(2000 + seed).random(4000) < chances
        own = 1 - likely[np.arange(4000), codes]
        made = conformal_of(
            "lac", own[kept], codes[kept], n_classes=5, coverage=0.9, weights=0.1 / chances[kept]
        )
        new = classified(4000, seed=1000 + seed)
        sets = made.sets(new[0], np.zeros(4000))
        covered.append(sets[np.arange(4000), new[1]].mean())

    assert np.mean(covered) == pytest.approx(0.9, abs=NEAR)
