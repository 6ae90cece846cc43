"""Votes of neighbours, against plain NumPy and scikit-learn."""

from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.neighbors import KNeighborsClassifier

from featx.errors import InputError
from featx.index.metric import MetricName
from featx.index.neighbours import Neighbours
from featx.index.opening import build_index
from featx.index.voting import (
    CHOICES_OF_TEMPERATURE,
    Trials,
    Weights,
    choose_vote,
    leave_one_out,
    neighbour_votes,
    reweighted,
    shares_of,
    temperatures_for,
    without_own,
)
from featx.types import Rows, Vectors


def vote(
    near: Neighbours,
    codes: Rows,
    n_classes: int,
    temperature: float,
    *,
    weights: Weights = "softmax",
    metric: MetricName = "cosine",
) -> NDArray[np.float64]:
    votes = neighbour_votes(near, temperature, weights=weights, metric=metric)
    return shares_of(votes, codes[near.rows], n_classes)


def scattered(n: int = 60, d: int = 8, c: int = 4, seed: int = 0) -> tuple[Vectors, Rows]:
    rng = np.random.default_rng(seed)
    y = np.arange(n) % c
    return (rng.normal(size=(n, d)) + rng.normal(size=(c, d))[y]).astype(np.float32), y


def found(similarities: list[list[float]], rows: list[list[int]] | None = None) -> Neighbours:
    near = np.array(similarities, np.float32)
    numbers = np.tile(np.arange(near.shape[1]), (len(near), 1)) if rows is None else np.array(rows)
    return Neighbours(near, numbers)


def oracle_votes(
    near: NDArray[np.float64], temperature: float, weights: Weights, metric: MetricName
) -> NDArray[np.float64]:
    weighed = np.exp(near / temperature)
    if weights == "uniform":
        weighed = np.ones(near.shape)
    if weights == "distance":
        with np.errstate(divide="ignore"):
            weighed = 1 / (1 - near if metric == "cosine" else -near)
        is_there = np.isinf(weighed)
        weighed = np.where(is_there.any(axis=1, keepdims=True), is_there, weighed)
    votes: NDArray[np.float64] = weighed / weighed.sum(axis=1, keepdims=True)
    return votes


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    weights=st.sampled_from(get_args(Weights)),
    metric=st.sampled_from(["cosine", "l2"]),
    temperature=st.floats(0.05, 5),
)
def test_votes_are_those_of_plain_numpy(
    seed: int, weights: Weights, metric: MetricName, temperature: float
) -> None:
    rng = np.random.default_rng(seed)
    near = -np.sort(rng.integers(0, 9, (5, 6)), axis=1) / (4 if metric == "cosine" else 1)
    near = near + 1 if metric == "cosine" else near

    votes = neighbour_votes(found(near.tolist()), temperature, weights=weights, metric=metric)

    np.testing.assert_allclose(
        votes, oracle_votes(near, temperature, weights, metric), rtol=1e-12, atol=0
    )
    np.testing.assert_allclose(votes.sum(axis=1), 1, rtol=1e-12)


@pytest.mark.parametrize("weights", ["uniform", "distance"])
@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_shares_are_those_of_scikit_learn(weights: Weights, metric: MetricName) -> None:
    X, y = scattered()
    Q, _ = scattered(20, seed=1)
    Q[:3] = X[[5, 9, 30]]
    peer = KNeighborsClassifier(
        7,
        weights=weights,
        metric={"cosine": "cosine", "l2": "euclidean"}[metric],
        algorithm="brute",
    )
    expected = peer.fit(X.astype(np.float64), y).predict_proba(Q.astype(np.float64))

    near = build_index("numpy", X, metric).search(Q, 7)
    shares = vote(near, y, 4, 1.0, weights=weights, metric=metric)

    # Similarities are float32: 6e-8 in distances of a tenth or more; none at all decides alone.
    np.testing.assert_allclose(shares, expected, atol=2e-6)


def test_neighbours_at_no_distance_share_the_whole_vote() -> None:
    cosines, lengths = found([[1.0, 1 - 2**-24, 0.9]]), found([[0.0, 0.0, -1e-3]])

    for votes in (
        neighbour_votes(cosines, 1.0, weights="distance"),
        neighbour_votes(lengths, 1.0, weights="distance", metric="l2"),
    ):
        assert votes.tolist() == [[0.5, 0.5, 0.0]]


def test_an_infinite_temperature_counts_every_neighbour_the_same() -> None:
    near = found([[0.9, 0.1, -0.7]])

    votes = [neighbour_votes(near, T) for T in (np.inf, np.finfo(np.float64).max)]

    np.testing.assert_array_equal(votes, np.full((2, 1, 3), 1 / 3))


def test_the_smallest_temperature_overflows_nothing() -> None:
    assert neighbour_votes(found([[300.0, -300.0]]), 1e-300).tolist() == [[1.0, 0.0]]


def test_inner_products_have_no_distance_to_vote_by() -> None:
    with pytest.raises(InputError, match="'dot' has no distance; use 'cosine' or 'l2'"):
        neighbour_votes(found([[3.0, 2.0]]), 1.0, weights="distance", metric="dot")


@pytest.mark.parametrize("weights", get_args(Weights))
def test_without_neighbours_shares_are_equal(weights: Weights) -> None:
    nobody = Neighbours(np.empty((2, 0), np.float32), np.empty((2, 0), np.int64))

    assert vote(nobody, np.arange(4), 4, 1.0, weights=weights).tolist() == [[0.25] * 4] * 2


def test_priors_move_shares_by_bayes_rule() -> None:
    shares = np.array([[0.5, 0.3, 0.2], [0.0, 1.0, 0.0]])
    frequencies, priors = np.array([60, 30, 10]), np.array([0.2, 0.2, 0.6])

    moved = reweighted(shares, frequencies, priors)

    expected = shares * priors / (frequencies / 100)
    np.testing.assert_allclose(moved, expected / expected.sum(axis=1, keepdims=True), rtol=1e-12)


def test_priors_like_the_frequencies_change_nothing() -> None:
    shares = np.array([[0.5, 0.3, 0.2]])

    np.testing.assert_allclose(reweighted(shares, [6, 3, 1], [60, 30, 10]), shares, rtol=1e-12)


def test_a_class_without_rows_or_of_prior_zero_gets_no_share() -> None:
    shares = np.array([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]])

    moved = reweighted(shares, [5, 5, 0], [0, 2, 2])

    # Of the second row all votes are for what cannot be: only the priors are known of it.
    assert moved.tolist() == [[0, 1, 0], [0, 0.5, 0.5]]


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_leaving_out_drops_the_row_itself_even_among_copies(metric: MetricName) -> None:
    X, _ = scattered(40, 6)
    X[10:30] = X[10]
    index = build_index("numpy", X, metric)

    near = leave_one_out(index, np.arange(40), 4)

    for row in range(40):
        rest = np.delete(np.arange(40), row)
        alone = build_index("numpy", X[rest], metric).search(X[row : row + 1], 4)
        assert near.rows[row].tolist() == rest[alone.rows[0]].tolist()
        assert near.similarities[row].tolist() == alone.similarities[0].tolist()


def test_rows_left_out_see_only_rows_that_may_be_neighbours() -> None:
    X, _ = scattered(30)
    keep = np.arange(30) % 3 > 0
    rows = np.flatnonzero(keep)

    near = leave_one_out(build_index("numpy", X), rows, 5, keep=keep)

    expected = leave_one_out(build_index("numpy", X[rows]), np.arange(len(rows)), 5)
    np.testing.assert_array_equal(near.rows, rows[expected.rows])
    assert leave_one_out(build_index("numpy", X), rows, 99, keep=keep).rows.shape == (20, 19)


def test_a_row_that_is_not_among_its_neighbours_gives_up_the_last() -> None:
    near = without_own(found([[3, 2, 1], [3, 2, 1]], [[7, 4, 5], [1, 0, 2]]), np.array([4, 9]))

    assert near.rows.tolist() == [[7, 5], [1, 0]]
    assert near.similarities.tolist() == [[3, 1], [3, 2]]


@pytest.mark.parametrize("weights", get_args(Weights))
@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_the_most_accurate_vote_is_chosen(weights: Weights, metric: MetricName) -> None:
    X, y = scattered(80)
    near = leave_one_out(build_index("numpy", X, metric), np.arange(80), 25)

    chosen = choose_vote(near, y, y, Trials(weights=weights, metric=metric))

    accuracies = {
        (k, T): (
            vote(found_first(near, k), y, 4, T, weights=weights, metric=metric).argmax(axis=1) == y
        ).mean()
        for k in (1, 3, 5, 9, 15, 25)
        for T in temperatures_for(near, metric)
    }
    assert chosen.accuracy == max(accuracies.values())
    assert accuracies[chosen.k, chosen.temperature] == chosen.accuracy
    assert chosen.n == 80


def found_first(near: Neighbours, k: int) -> Neighbours:
    return Neighbours(near.similarities[:, :k], near.rows[:, :k])


def test_temperatures_follow_the_scale_of_the_similarities() -> None:
    X, _ = scattered(80)
    rows = np.arange(80)
    cosines = leave_one_out(build_index("numpy", X), rows, 9)
    small, large = (
        leave_one_out(build_index("numpy", X * scale, "l2"), rows, 9) for scale in (1, 100)
    )

    assert temperatures_for(cosines, "cosine") == CHOICES_OF_TEMPERATURE
    np.testing.assert_allclose(
        temperatures_for(large, "l2"), 100 * np.array(temperatures_for(small, "l2")), rtol=1e-5
    )
    assert temperatures_for(found([[2.0, 2.0]]), "dot") == CHOICES_OF_TEMPERATURE


def test_nothing_to_try_gives_the_first_of_each() -> None:
    nobody = Neighbours(np.empty((1, 0), np.float32), np.empty((1, 0), np.int64))

    chosen = choose_vote(nobody, np.array([0]), np.array([0]), Trials(ks=(3,), temperatures=(0.5,)))

    assert (chosen.k, chosen.temperature, chosen.n) == (3, 0.5, 0)
    assert np.isnan(chosen.accuracy)
