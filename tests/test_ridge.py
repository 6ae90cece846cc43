"""Ridge heads: closed form, exact leave-one-out, sums that grow and shrink."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.linear_model import Ridge, RidgeClassifier

from featx.errors import InputError
from featx.heads.moments import measure
from featx.heads.ridge import RidgeProbe, RidgeProbeRegressor
from featx.heads.ridgepath import RELATIVE_ALPHAS, RidgePath

EXACT = 1e-8  # two ways round the same normal equations, in float64
HALF = 1e-5  # the same in float32, on rows of length one

SHAPES = [(60, 5), (15, 40), (20, 19)]
few_examples = settings(max_examples=10, deadline=None, derandomize=True)


def blobs(
    n: int = 60, d: int = 5, c: int = 3, seed: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    y = np.arange(n) % c
    return rng.normal(size=(n, d)) + 1.5 * rng.normal(size=(c, d))[y], y


def degenerate(n: int, d: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return blobs with a repeated and a constant column."""
    X, y = blobs(n, d)
    X[:, 1], X[:, 2] = X[:, 0], 7
    return X, y


def signs(y: NDArray[np.int64], c: int = 3) -> NDArray[np.float64]:
    return np.where(y[:, None] == np.arange(c), 1.0, -1.0)


def tags(n: int) -> NDArray[np.int64]:
    return (np.random.default_rng(1).random((n, 4)) > 0.6).astype(np.int64)


def oracle(X: NDArray[Any], Y: NDArray[Any], alpha: float) -> tuple[Any, Any]:
    mean = X.mean(axis=0)
    gram = (X - mean).T @ (X - mean) + alpha * np.eye(X.shape[1])
    W = np.linalg.solve(gram, (X - mean).T @ (Y - Y.mean(axis=0)))
    return W.T, Y.mean(axis=0) - mean @ W


def oracle_held_out(X: NDArray[Any], Y: NDArray[Any], alpha: float) -> NDArray[Any]:
    held_out = []
    for row in range(len(X)):
        rest = np.arange(len(X)) != row
        coef, intercept = oracle(X[rest], Y[rest], alpha)
        held_out.append(X[row] @ coef.T + intercept)
    return np.array(held_out)


@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_held_out_logits_of_classes_equal_refitting_without_each_row(n: int, d: int) -> None:
    X, y = degenerate(n, d)

    head = RidgeProbe().fit(X, y)

    np.testing.assert_allclose(
        head.held_out_logits_, oracle_held_out(X, signs(y), head.alpha_), atol=EXACT
    )
    coef, intercept = oracle(X, signs(y), head.alpha_)
    np.testing.assert_allclose(head.coef_, coef, atol=EXACT)
    np.testing.assert_allclose(head.intercept_, intercept, atol=EXACT)


@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_held_out_logits_of_tags_equal_refitting_without_each_row(n: int, d: int) -> None:
    X, Y = degenerate(n, d)[0], tags(n)

    head = RidgeProbe().fit(X, Y)

    np.testing.assert_allclose(
        head.held_out_logits_, oracle_held_out(X, 2 * Y - 1, head.alpha_), atol=EXACT
    )
    np.testing.assert_array_equal(head.classes_, np.arange(4))


@pytest.mark.parametrize(("n", "d"), SHAPES)
@pytest.mark.parametrize("outputs", [1, 3])
def test_held_out_values_equal_refitting_without_each_row(n: int, d: int, outputs: int) -> None:
    X = degenerate(n, d)[0]
    Y = X[:, :1] * [[1.0, -2.0, 0.0]] + np.random.default_rng(2).normal(size=(n, 3))
    Y = Y[:, :outputs] if outputs > 1 else Y[:, 0]

    head = RidgeProbeRegressor().fit(X, Y)

    table = Y.reshape(n, -1)
    np.testing.assert_allclose(
        head.held_out_logits_, oracle_held_out(X, table, head.alpha_), atol=EXACT
    )
    coef, intercept = oracle(X, table, head.alpha_)
    np.testing.assert_allclose(np.atleast_2d(head.coef_), coef, atol=EXACT)
    np.testing.assert_allclose(np.atleast_1d(head.intercept_), intercept, atol=EXACT)
    np.testing.assert_allclose(
        head.predict(X), (X @ coef.T + intercept).reshape(Y.shape), atol=EXACT
    )


@pytest.mark.parametrize("what", ["classes", "tags", "values"])
@pytest.mark.parametrize(("n", "d"), [(24, 4), (10, 16)])
def test_a_row_of_weight_two_is_two_rows_of_which_one_is_left_out(
    what: str, n: int, d: int
) -> None:
    X, y = blobs(n, d)
    counts = np.arange(n) % 3 + 1
    Y: NDArray[Any] = {"classes": signs(y), "tags": 2 * tags(n) - 1, "values": X[:, :2] ** 2}[what]
    given: NDArray[Any] = {"classes": y, "tags": tags(n), "values": Y}[what]
    head: Any = RidgeProbeRegressor() if what == "values" else RidgeProbe()

    head.fit(X, given, sample_weight=counts)

    first = np.cumsum(counts) - counts
    repeated = oracle_held_out(X.repeat(counts, axis=0), Y.repeat(counts, axis=0), head.alpha_)
    np.testing.assert_allclose(head.held_out_logits_, repeated[first], atol=EXACT)
    again: Any = type(head)(alphas=[head.alpha_])
    again.fit(X.repeat(counts, axis=0), given.repeat(counts, axis=0))
    np.testing.assert_allclose(head.coef_, again.coef_, atol=EXACT)


@pytest.mark.parametrize(("n", "d"), [(200, 32), (40, 64), (12, 300)])
@pytest.mark.parametrize("what", ["classes", "tags"])
def test_float32_held_out_logits_of_unit_rows_are_exact(n: int, d: int, what: str) -> None:
    X, y = blobs(n, d)
    X = (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32)

    head = RidgeProbe().fit(X, y if what == "classes" else tags(n))

    Y = signs(y) if what == "classes" else 2 * tags(n) - 1
    expected = oracle_held_out(X.astype(np.float64), Y, head.alpha_)
    assert head.held_out_logits_.dtype == head.coef_.dtype == np.float32
    np.testing.assert_allclose(head.held_out_logits_, expected, atol=HALF)


@pytest.mark.parametrize(("n", "d"), [(80, 30), (20, 60)])
def test_float32_leave_one_out_holds_at_every_default_penalty(n: int, d: int) -> None:
    X, y = blobs(n, d)
    X = (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32)
    scale = RidgeProbe().fit(X, y).moments_.scatter.trace() / min(n - 1, d)

    for alpha in RELATIVE_ALPHAS * scale:
        found = RidgeProbe(alphas=[alpha]).fit(X, y).held_out_logits_
        expected = oracle_held_out(X.astype(np.float64), signs(y), alpha)
        np.testing.assert_allclose(found, expected, atol=HALF)


@pytest.mark.parametrize("what", ["classes", "tags"])
def test_penalty_is_chosen_by_leave_one_out_accuracy_then_error(what: str) -> None:
    X, y = blobs(40, 8, seed=3)
    alphas = [0.1, 1.0, 10.0, 100.0, 1e4]
    Y, given = (signs(y), y) if what == "classes" else (2 * tags(40) - 1, tags(40))

    head = RidgeProbe(alphas=alphas).fit(X, given)

    ranks = []
    for alpha in alphas:
        held_out = oracle_held_out(X, Y, alpha)
        hits = held_out.argmax(axis=1) == y if what == "classes" else (held_out > 0) == (Y > 0)
        ranks.append((-hits.mean().round(9), np.mean((held_out - Y) ** 2), alpha))
    assert head.alpha_ == min(ranks)[2]
    assert head.tuned_ == {"alpha": head.alpha_}


def test_penalty_of_values_is_that_of_the_least_relative_error() -> None:
    X, _ = blobs(40, 8, seed=3)
    Y = X[:, :2] * [1.0, 1000.0] + np.random.default_rng(4).normal(size=(40, 2)) * [3.0, 100.0]
    alphas = [0.1, 1.0, 10.0, 100.0, 1e4]

    head = RidgeProbeRegressor(alphas=alphas).fit(X, Y)

    errors = [
        (((oracle_held_out(X, Y, alpha) - Y) ** 2).mean(axis=0) / Y.var(axis=0)).sum()
        for alpha in alphas
    ]
    assert head.alpha_ == alphas[int(np.argmin(errors))]


def test_probe_is_scikit_learns_ridge_classifier() -> None:
    X, y = blobs(80, 6)

    head = RidgeProbe(alphas=[3.0]).fit(X, y)

    oracle_head = RidgeClassifier(alpha=3.0).fit(X, y)
    np.testing.assert_allclose(head.coef_, oracle_head.coef_, atol=EXACT)
    np.testing.assert_allclose(head.decision_function(X), oracle_head.decision_function(X))
    np.testing.assert_array_equal(head.predict(X), oracle_head.predict(X))


def test_weighted_regressor_is_scikit_learns_ridge() -> None:
    X, _ = blobs(80, 6)
    w = np.random.default_rng(5).random(80)

    head = RidgeProbeRegressor(alphas=[3.0]).fit(X, X[:, 0] ** 2, sample_weight=w)

    expected = Ridge(alpha=3.0).fit(X, X[:, 0] ** 2, sample_weight=w)
    np.testing.assert_allclose(head.coef_, expected.coef_, atol=EXACT)
    assert head.intercept_ == pytest.approx(expected.intercept_)


def test_float32_values_far_from_zero_get_the_penalty_of_values_near_it() -> None:
    X, _ = blobs(200, 10)
    X32, y = X.astype(np.float32), X[:, 0] * 3 + np.random.default_rng(6).normal(size=200)

    near, far = RidgeProbeRegressor().fit(X32, y), RidgeProbeRegressor().fit(X32, y + 1e6)

    assert far.alpha_ == near.alpha_
    np.testing.assert_allclose(far.coef_, near.coef_, atol=HALF)
    # A float32 near a million is exact to a sixteenth.
    np.testing.assert_allclose(far.held_out_logits_, near.held_out_logits_ + 1e6, atol=0.1)


def test_a_constant_value_is_predicted() -> None:
    X, _ = blobs(20, 30)

    head = RidgeProbeRegressor().fit(X, np.full((20, 2), [3.0, 4.0]))

    np.testing.assert_allclose(head.predict(X), np.full((20, 2), [3.0, 4.0]))


def test_generalised_cross_validation_is_that_of_the_hat_matrix() -> None:
    X, Y = blobs(30, 4)[0], np.random.default_rng(7).normal(size=(30, 2))
    alphas = np.array([0.5, 20.0])

    found = RidgePath(measure(X, Y), alphas).generalised_errors()

    for alpha, errors in zip(alphas, found, strict=True):
        centred = np.hstack([X - X.mean(axis=0), np.ones((30, 1))])
        penalty = np.diag([alpha] * 4 + [0])
        hat = centred @ np.linalg.solve(centred.T @ centred + penalty, centred.T)
        left = ((Y - hat @ Y) ** 2).sum(axis=0) / Y.var(axis=0) / 30
        np.testing.assert_allclose(errors, left / (1 - np.trace(hat) / 30) ** 2, rtol=1e-9)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("n", "d"), [(60, 5), (15, 40)])
def test_pieces_add_up_to_one_fit(n: int, d: int, dtype: str) -> None:
    X, y = blobs(n, d)
    X, w = X.astype(dtype), np.random.default_rng(8).random(n) + 0.5

    pieces = RidgeProbe()
    for part in (slice(0, 4), slice(4, 5), slice(5, n)):
        pieces.partial_fit(X[part], y[part], classes=[0, 1, 2], sample_weight=w[part])

    whole = RidgeProbe(alphas=[pieces.alpha_]).fit(X, y, sample_weight=w)
    once = RidgeProbe().partial_fit(X, y, classes=[0, 1, 2], sample_weight=w)
    atol = EXACT if dtype == "float64" else HALF
    assert pieces.alpha_ == pytest.approx(once.alpha_, rel=1e-4)
    assert pieces.coef_.dtype == np.dtype(dtype)
    np.testing.assert_allclose(pieces.coef_, whole.coef_, atol=atol)
    np.testing.assert_allclose(pieces.intercept_, whole.intercept_, atol=atol)
    np.testing.assert_allclose(pieces.moments_.scatter, whole.moments_.scatter, rtol=1e-3, atol=0.1)
    assert not hasattr(pieces, "held_out_logits_")


@few_examples
@given(st.integers(0, 50), st.integers(1, 9), st.sampled_from([5, 80]))
def test_removing_rows_undoes_adding_them(start: int, size: int, d: int) -> None:
    X, y = blobs(60, d)
    part = slice(start, start + size)
    rest = np.setdiff1d(np.arange(60), np.arange(60)[part])

    left = RidgeProbe().fit(X, y).remove(X[part], y[part])

    fresh = RidgeProbe().partial_fit(X[rest], y[rest], classes=[0, 1, 2])
    assert left.alpha_ == pytest.approx(fresh.alpha_, rel=1e-6)
    np.testing.assert_allclose(left.coef_, fresh.coef_, atol=EXACT)
    again = left.partial_fit(X[part], y[part])
    np.testing.assert_allclose(again.moments_.scatter, RidgeProbe().fit(X, y).moments_.scatter)


@few_examples
@given(st.permutations(range(6)))
def test_shards_merge_to_one_whatever_their_order(order: list[int]) -> None:
    X, _ = blobs(60, 5)
    shards = [RidgeProbe().fit(X[i::6], np.arange(10) % 3) for i in range(6)]

    merged = RidgeProbe().fit(X[order[0] :: 6], np.arange(10) % 3)
    for i in order[1:]:
        merged.merge(shards[i])

    rows = np.concatenate([X[i::6] for i in range(6)])
    whole = RidgeProbe(alphas=[merged.alpha_]).fit(rows, np.tile(np.arange(10) % 3, 6))
    np.testing.assert_allclose(merged.coef_, whole.coef_, atol=EXACT)
    np.testing.assert_allclose(merged.intercept_, whole.intercept_, atol=EXACT)


def test_merged_probes_of_tags_still_give_tags() -> None:
    X, Y = blobs(60, 5)[0], tags(60)
    first, last = RidgeProbe().fit(X[:30], Y[:30]), RidgeProbe().fit(X[30:], Y[30:])

    merged = first.merge(last)

    whole = RidgeProbe(alphas=[merged.alpha_]).fit(X, Y)
    np.testing.assert_allclose(merged.coef_, whole.coef_, atol=EXACT)
    assert merged.predict(X).shape == (60, 4)
    assert merged.predict_proba(X).shape == (60, 4)


@few_examples
@given(st.permutations(range(30)), st.sampled_from([4, 50]))
def test_order_of_rows_does_not_matter(order: list[int], d: int) -> None:
    X, y = blobs(30, d)

    plain, shuffled = RidgeProbe().fit(X, y), RidgeProbe().fit(X[order], y[order])

    assert shuffled.alpha_ == pytest.approx(plain.alpha_)
    np.testing.assert_allclose(shuffled.coef_, plain.coef_, atol=EXACT)
    np.testing.assert_allclose(shuffled.held_out_logits_, plain.held_out_logits_[order], atol=EXACT)


@pytest.mark.parametrize("alphas", [[0.0], [], [-1.0], [float("nan")], [float("inf")]])
@pytest.mark.parametrize("head", [RidgeProbe, RidgeProbeRegressor])
def test_a_penalty_out_of_range_is_refused(head: Any, alphas: list[float]) -> None:  # noqa: ANN401
    with pytest.raises(InputError, match=r"alphas = \[.*\]; expected finite values above 0"):
        head(alphas=alphas).fit(*blobs())


def test_growing_needs_to_know_all_classes_first() -> None:
    X, y = blobs()

    with pytest.raises(InputError, match="the first partial_fit needs all classes"):
        RidgeProbe().partial_fit(X, y)
    with pytest.raises(InputError, match=r"classes = \[0\]; expected two or more"):
        RidgeProbe().partial_fit(X, y * 0, classes=[0])
    with pytest.raises(InputError, match=r"y holds 2; classes are \[0, 1\]"):
        RidgeProbe().partial_fit(X, y, classes=[0, 1])


def test_a_strange_label_leaves_the_probe_as_it_was() -> None:
    X, y = blobs()
    names = np.array(["ant", "bee", "cat"])[y]
    head = RidgeProbe()

    with pytest.raises(InputError, match=r"y holds 'cat'; classes are \['ant', 'bee'\]"):
        head.partial_fit(X, names, classes=["ant", "bee"])
    head.partial_fit(X, names, classes=["ant", "bee", "cat"])

    assert head.classes_.tolist() == ["ant", "bee", "cat"]
    with pytest.raises(InputError, match="expected those before"):
        head.partial_fit(X, names, classes=["ant", "bee", "cat", "dog"])


def test_probes_that_differ_are_not_merged() -> None:
    X, y = blobs()
    head = RidgeProbe().fit(X, y)

    with pytest.raises(InputError, match=r"classes \[0, 1, 2\] and \[0, 1\], widths 5 and 5"):
        head.merge(RidgeProbe().fit(X, y.clip(max=1)))
    with pytest.raises(InputError, match="widths 5 and 4"):
        head.merge(RidgeProbe().fit(X[:, :4], y))
    with pytest.raises(InputError, match="both of classes or of tags"):
        head.merge(RidgeProbe().fit(X, np.eye(3, dtype=int)[y]))


def test_tags_cannot_be_added_or_removed_row_by_row() -> None:
    X, y = blobs()
    head = RidgeProbe().fit(X, tags(60))

    with pytest.raises(InputError, match="fitted to tags; rows can be added by merge alone"):
        head.partial_fit(X, y)
    with pytest.raises(InputError, match="fitted to tags"):
        head.remove(X, y)


def test_all_rows_cannot_be_removed() -> None:
    X, y = blobs()

    with pytest.raises(InputError, match="at least one row must stay"):
        RidgeProbe().fit(X, y).remove(X, y)
