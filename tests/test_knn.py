"""The k-nearest-neighbour head."""

import copy
import pickle
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.datasets import make_blobs
from sklearn.neighbors import KNeighborsClassifier
from sklearn.utils.estimator_checks import parametrize_with_checks

from featx.errors import InputError, UnknownNameError
from featx.heads.examples import Examples
from featx.heads.headcheck import check_head
from featx.heads.knn import KNNClassifier
from featx.heads.knnchecks import Priors
from featx.heads.predict import Head
from featx.index import INDEXES
from featx.index.metric import MetricName
from featx.index.neighbours import Neighbours
from featx.index.voting import Weights
from featx.types import Rows


@parametrize_with_checks([KNNClassifier(), KNNClassifier(k="auto", temperature="auto")])  # type: ignore[untyped-decorator]
def test_the_scikit_learn_contract_holds(
    estimator: BaseEstimator, check: Callable[[BaseEstimator], None]
) -> None:
    check(estimator)


def blobs(dtype: str = "float32", n: int = 120) -> tuple[NDArray[Any], NDArray[Any]]:
    X, y = make_blobs(n, n_features=16, centers=4, cluster_std=6.0, random_state=0)
    return X.astype(dtype), np.array(["ape", "bee", "cat", "dog"])[y]


def oracle(X: NDArray[Any], y: NDArray[Any], q: NDArray[Any], k: int, T: float) -> NDArray[Any]:
    unit = X.astype(np.float64) / np.linalg.norm(X.astype(np.float64), axis=1, keepdims=True)
    similarities = unit @ (q / np.linalg.norm(q.astype(np.float64)))
    nearest = np.argsort(-similarities, kind="stable")[:k]
    weights = np.exp(similarities[nearest] / T)
    votes = [weights[y[nearest] == label].sum() for label in np.unique(y)]
    shares: NDArray[Any] = np.array(votes) / weights.sum()
    return shares


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_shares_are_those_of_plain_numpy_in_the_dtype_given(dtype: str) -> None:
    X, y = blobs(dtype)
    head = KNNClassifier(k=7, temperature=0.1).fit(X[:100], y[:100])

    shares = head.predict_proba(X[100:])

    expected = [oracle(X[:100], y[:100], q, 7, 0.1) for q in X[100:]]
    assert shares.dtype == head.gallery_.dtype == head.held_out_logits_.dtype == np.dtype(dtype)
    np.testing.assert_allclose(shares, expected, atol=5e-6)  # float32 similarities over T = 0.1
    np.testing.assert_array_equal(head.predict(X[100:]), head.classes_[np.argmax(expected, axis=1)])


def test_held_out_logits_are_those_of_fitting_without_the_row() -> None:
    X, y = blobs()
    head = KNNClassifier(k=5).fit(X, y)

    for row in (0, 17, 119):
        rest = np.delete(np.arange(len(X)), row)
        without = KNNClassifier(k=5).fit(X[rest], y[rest]).predict_proba(X[row : row + 1])
        np.testing.assert_allclose(
            head.held_out_logits_[row], np.log((5 * without[0] + 1 / 4) / 6), rtol=1e-5, atol=1e-6
        )


def test_held_out_logits_follow_a_second_fit() -> None:
    X, y = blobs()
    head = KNNClassifier().fit(X, y)
    assert head.held_out_logits_.shape == (120, 4)

    head.fit(X[:50], y[:50])

    assert head.held_out_logits_.shape == (50, 4)


def test_auto_takes_the_k_with_the_best_leave_one_out_accuracy() -> None:
    X, y = blobs()
    codes = np.unique(y, return_inverse=True)[1]
    accuracies = {
        k: (KNNClassifier(k=k).fit(X, y).held_out_logits_.argmax(axis=1) == codes).mean()
        for k in (1, 3, 5, 9, 15, 25)
    }

    chosen = KNNClassifier(k="auto").fit(X, y)

    assert accuracies[chosen.k_] == max(accuracies.values())
    assert chosen.temperature_ == 0.07


def test_neighbours_are_the_training_rows_by_cosine() -> None:
    X, y = blobs()
    head = KNNClassifier().fit(X, y)

    similarities, rows = head.kneighbors(3 * X[:5], 1)

    assert rows.ravel().tolist() == [0, 1, 2, 3, 4]
    np.testing.assert_allclose(similarities, 1.0, atol=1e-6)


def test_dot_takes_rows_as_they_are() -> None:
    X, y = np.array([[1.0, 0.0], [9.0, 9.0]]), np.array(["near", "long"])

    head = KNNClassifier(k=1, metric="dot").fit(X, y)

    assert head.predict([[1.0, 0.0]]).tolist() == ["long"]
    assert KNNClassifier(k=1).fit(X, y).predict([[1.0, 0.0]]).tolist() == ["near"]


def test_arrays_alone_restore_a_head() -> None:
    X, y = blobs()
    head = KNNClassifier().fit(X, y)
    bare = clone(head)
    for name in ("classes_", "gallery_", "codes_", "k_", "temperature_", "n_features_in_"):
        setattr(bare, name, getattr(head, name))

    np.testing.assert_array_equal(bare.predict_proba(X), head.predict_proba(X))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(head)).predict(X), head.predict(X))


@pytest.mark.parametrize(
    "wrong",
    [
        {"k": 0},
        {"k": 1.5},
        {"temperature": 0.0},
        {"temperature": "hot"},
        {"metric": "euclid"},
        {"weights": "rank"},
        {"priors": "equal"},
        {"priors": [1, 1, 1]},
        {"priors": [1, 1, 1, -1]},
        {"priors": [0, 0, 0, 0]},
        {"priors": {"ape": 1, "bee": 1, "cat": 1, "eel": 1}},
        {"weights": "distance", "metric": "dot"},
    ],
)
def test_parameters_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    X, y = blobs()

    with pytest.raises(InputError, match=rf"^{next(iter(wrong))}: "):
        KNNClassifier(**wrong).fit(X, y)


def test_an_unknown_index_is_refused_by_name() -> None:
    with pytest.raises(UnknownNameError, match="unknown index 'exakt'; did you mean 'exact'"):
        KNNClassifier(index="exakt").fit(*blobs())


@pytest.mark.parametrize("weights", ["uniform", "distance"])
@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_other_votes_are_those_of_scikit_learn(weights: Weights, metric: MetricName) -> None:
    X, y = blobs("float64", 160)
    name = {"cosine": "cosine", "l2": "euclidean"}[metric]
    peer = KNeighborsClassifier(9, weights=weights, metric=name, algorithm="brute")
    peer.fit(X[:120], y[:120])

    head = KNNClassifier(k=9, weights=weights, metric=metric).fit(X[:120], y[:120])

    distances, rows = peer.kneighbors(X[120:])
    similarities, own_rows = head.kneighbors(X[120:])
    np.testing.assert_array_equal(own_rows, rows)
    expected = 1 - distances if metric == "cosine" else -distances
    np.testing.assert_allclose(similarities, expected, rtol=1e-6, atol=1e-6)
    # Float32 similarities: 6e-8 in cosine distances of a tenth.
    np.testing.assert_allclose(
        head.predict_proba(X[120:]), peer.predict_proba(X[120:]), rtol=1e-5, atol=1e-6
    )
    np.testing.assert_array_equal(head.predict(X[120:]), peer.predict(X[120:]))


@pytest.mark.parametrize("priors", [None, "uniform", {"ape": 1, "bee": 2, "cat": 3, "dog": 0}])
@pytest.mark.parametrize(
    ("weights", "metric"), [("uniform", "cosine"), ("distance", "l2"), ("softmax", "dot")]
)
def test_held_out_logits_of_every_vote_are_those_of_fitting_without_the_row(
    weights: Weights, metric: MetricName, priors: Priors
) -> None:
    X, y = blobs()
    options: dict[str, Any] = {"weights": weights, "metric": metric, "priors": priors}
    head = KNNClassifier(temperature=30.0, **options).fit(X, y)

    for row in (0, 17, 119):
        rest = np.delete(np.arange(len(X)), row)
        fitted = KNNClassifier(temperature=30.0, **options).fit(X[rest], y[rest])
        shares = fitted.predict_proba(X[row : row + 1])[0]
        np.testing.assert_allclose(
            head.held_out_logits_[row], np.log((5 * shares + 1 / 4) / 6), rtol=1e-5, atol=1e-6
        )


def test_held_out_logits_need_no_second_search_of_rows_that_were_tuned_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    X, y = blobs()
    plain = KNNClassifier(k="auto").fit(X, y)
    monkeypatch.setattr("featx.index.voting.TUNING_ROWS", 50)
    searched: list[int] = []
    search = Examples.without_itself

    def counted(examples: Examples, rows: Rows, k: int) -> Neighbours:
        searched.append(len(rows))
        return search(examples, rows, k)

    monkeypatch.setattr(Examples, "without_itself", counted)
    head = KNNClassifier(k="auto").fit(X, y)

    logits = head.held_out_logits_

    assert searched == [50, 70]
    fixed = KNNClassifier(k=head.k_).fit(X, y)
    np.testing.assert_array_equal(logits, fixed.held_out_logits_)
    assert searched == [50, 70, 120]
    np.testing.assert_array_equal(
        plain.held_out_logits_, KNNClassifier(k=plain.k_).fit(X, y).held_out_logits_
    )


@pytest.mark.parametrize("metric", ["cosine", "l2", "dot"])
def test_an_automatic_temperature_suits_the_scale_of_the_rows(metric: MetricName) -> None:
    X, y = blobs()

    auto = KNNClassifier(k=9, temperature="auto", metric=metric).fit(X, y)
    scaled = KNNClassifier(k=9, temperature="auto", metric=metric).fit(8 * X, y)

    scale = {"cosine": 1, "l2": 8, "dot": 64}[metric]
    assert scaled.temperature_ == pytest.approx(scale * auto.temperature_, rel=1e-5)
    np.testing.assert_array_equal(auto.predict(X), scaled.predict(8 * X))


def test_priors_move_the_shares_and_so_do_the_votes_of_neighbours() -> None:
    X, y = blobs()
    few = np.concatenate([np.flatnonzero(y != "ape"), np.flatnonzero(y == "ape")[:6]])
    plain = KNNClassifier(k=9).fit(X[few], y[few])

    even = KNNClassifier(k=9, priors="uniform").fit(X[few], y[few])

    counts = np.bincount(plain.codes_)
    moved = plain.predict_proba(X) / counts
    expected = moved / moved.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(even.predict_proba(X), expected, rtol=1e-5)
    assert (even.predict(X) == "ape").sum() > (plain.predict(X) == "ape").sum()
    for voters, shares in zip(even.explain(X[:9]), even.predict_proba(X[:9]), strict=True):
        for label, share in zip(even.classes_, shares, strict=True):
            votes = sum(voter.vote for voter in voters if voter.label == label)
            assert votes == pytest.approx(share, abs=1e-6)


def test_priors_as_an_array_go_by_the_classes_in_order() -> None:
    X, y = blobs()
    shares = {"ape": 0.1, "bee": 0.2, "cat": 0.3, "dog": 0.4}

    by_label, by_place = (
        KNNClassifier(priors=priors).fit(X, y) for priors in (shares, [1, 2, 3, 4])
    )

    np.testing.assert_allclose(by_label.predict_proba(X), by_place.predict_proba(X), rtol=1e-6)


def test_every_prediction_names_its_neighbours() -> None:
    X, y = blobs()
    ids, uris = [f"item-{i}" for i in range(120)], [f"{i}.jpg" for i in range(120)]
    head = KNNClassifier(k=7).fit(X, y, ids=ids, uris=uris)

    voters = head.explain(X[3:4])[0]

    similarities, rows = head.kneighbors(X[3:4])
    weights = np.exp(similarities[0].astype(float) / 0.07)
    assert [voter.id for voter in voters] == [f"item-{row}" for row in rows[0]]
    assert [voter.uri for voter in voters] == [f"{row}.jpg" for row in rows[0]]
    assert [voter.label for voter in voters] == y[rows[0]].tolist()
    assert [voter.similarity for voter in voters] == similarities[0].tolist()
    np.testing.assert_allclose([v.vote for v in voters], weights / weights.sum(), rtol=1e-6)
    assert [len(of_query) for of_query in head.explain(X[:2], k=300)] == [120, 120]
    assert KNNClassifier().fit(X, y).explain(X[3:4], k=1)[0][0].id == 3


def test_predictions_below_a_share_are_withheld() -> None:
    X, y = blobs()
    head = KNNClassifier(k=9, temperature=1.0).fit(X, y)

    answers = head.predict_or_abstain(X, below=0.7)

    shares = head.predict_proba(X).max(axis=1)
    expected = [
        label if share >= 0.7 else None
        for label, share in zip(head.predict(X).tolist(), shares, strict=True)
    ]
    assert answers.tolist() == expected
    assert {None, "ape"} < set(expected)
    assert head.predict_or_abstain(X, below=0).tolist() == head.predict(X).tolist()
    with pytest.raises(InputError, match=r"below: found 1\.5; must be a share, 0 to 1"):
        head.predict_or_abstain(X, below=1.5)


Step = tuple[bool, list[int]]
steps = st.lists(
    st.tuples(st.booleans(), st.lists(st.integers(0, 39), min_size=1, max_size=12, unique=True)),
    max_size=8,
)


@settings(max_examples=60, deadline=None)
@given(
    steps=steps,
    metric=st.sampled_from(["cosine", "dot", "l2"]),
    dtype=st.sampled_from(["float32", "float64"]),
    index=st.sampled_from(["exact", "numpy"]),
)
def test_adding_and_removing_in_any_order_is_fitting_what_is_left(
    steps: list[Step], metric: MetricName, dtype: str, index: str
) -> None:
    X, y = blobs(dtype, 60)
    there = [0, 1, 2, 3]
    options: dict[str, Any] = {"k": 5, "metric": metric, "index": index, "priors": "uniform"}
    head = KNNClassifier(**options)
    head.partial_fit(X[there], y[there], np.unique(y), ids=[str(row) for row in there])
    for is_new, rows in steps:
        named = [row for row in rows if (row in there) != is_new]
        if is_new and named:
            head.partial_fit(X[named], y[named], ids=[str(row) for row in named])
            there += named
        elif 0 < len(named) < len(there):
            head.remove([str(row) for row in named])
            there = [row for row in there if row not in named]

    whole = KNNClassifier(**options).fit(X[there], y[there], ids=[str(row) for row in there])

    places = np.searchsorted(head.classes_, whole.classes_)
    shares = head.predict_proba(X)
    # Priors over other classes round differently.
    np.testing.assert_allclose(shares[:, places], whole.predict_proba(X), rtol=1e-6, atol=1e-30)
    assert shares.sum() == pytest.approx(len(X))
    for left, right in zip(head.explain(X), whole.explain(X), strict=True):
        for voter, other in zip(left, right, strict=True):
            assert voter.vote == pytest.approx(other.vote)
            assert voter == replace(other, vote=voter.vote)
    logits = head.held_out_logits_[:, places]
    if len(places) == 4 and len(there) > 1:
        np.testing.assert_allclose(logits, whole.held_out_logits_, rtol=1e-6)


@pytest.mark.parametrize("kind", ["auto", *INDEXES])
def test_rows_come_and_go_whatever_index_holds_them(kind: str) -> None:
    X, y = blobs(n=200)
    head = KNNClassifier(index=kind).fit(X[:100], y[:100])

    head.partial_fit(X[100:], y[100:]).remove(range(0, 90, 2))

    left = np.setdiff1d(np.arange(200), np.arange(0, 90, 2))
    whole = KNNClassifier(index=kind).fit(X[left], y[left])
    np.testing.assert_array_equal(head.predict_proba(X), whole.predict_proba(X))
    assert head.ids_[head.is_there_].tolist() == left.tolist()


def test_once_most_rows_are_gone_the_others_move_together() -> None:
    X, y = blobs()
    head = KNNClassifier().fit(X, y)

    head.remove(range(60))
    assert len(head.gallery_) == 120
    head.remove([60])

    assert head.gallery_.shape == (59, 16)
    assert head.is_there_.all()
    assert head.explain(X[90:91], k=1)[0][0].id == 90
    assert head.partial_fit(X[:1], y[:1]).explain(X[:1], k=1)[0][0].id == 120


def test_a_head_that_was_pickled_grows_and_forgets_on() -> None:
    X, y = blobs()
    head = KNNClassifier().fit(X[:100], y[:100]).remove([3, 7])

    again = pickle.loads(pickle.dumps(head))

    assert len(pickle.dumps(head)) < 2 * head.gallery_.nbytes
    for each in (head, again):
        each.partial_fit(X[100:], y[100:]).remove([5, 119])
    np.testing.assert_array_equal(head.predict_proba(X), again.predict_proba(X))
    np.testing.assert_array_equal(head.held_out_logits_, again.held_out_logits_)
    with pytest.raises(InputError, match="ids: 7 is not there"):
        again.remove([7])


def test_copies_of_a_head_grow_apart() -> None:
    X, y = blobs()
    head = KNNClassifier(k=1).fit(X[:60], y[:60]).partial_fit(X[60:61], y[60:61])
    other = copy.copy(head)

    head.partial_fit(X[70:80], y[70:80])
    other.partial_fit(X[80:90], y[80:90])

    for each, rows in ((head, slice(70, 80)), (other, slice(80, 90))):
        np.testing.assert_array_equal(each.kneighbors(X[rows], 1)[1].ravel(), np.arange(61, 71))
        assert [found[0].id for found in each.explain(X[rows])] == list(range(61, 71))


def test_the_first_part_must_name_every_class_and_later_ones_may_add_some() -> None:
    X, y = blobs()
    known = np.isin(y, ["bee", "dog"])
    with pytest.raises(InputError, match="classes: found None in the first call"):
        KNNClassifier().partial_fit(X, y)
    head = KNNClassifier().partial_fit(X[known], y[known], ["dog", "bee"])

    with pytest.raises(InputError, match="y: 'cat' is not among the classes"):
        head.partial_fit(X, y)
    with pytest.raises(InputError, match="classes: 'bee' is left out"):
        head.partial_fit(X, y, ["ape", "cat", "dog"])
    np.testing.assert_array_equal(head.classes_, ["bee", "dog"])
    head.partial_fit(X[~known], y[~known], ["ape", "bee", "cat", "dog"])

    whole = KNNClassifier().fit(X, y)
    np.testing.assert_array_equal(head.classes_, whole.classes_)
    np.testing.assert_array_equal(head.predict(X), whole.predict(X))


def test_a_class_of_which_nothing_is_left_gets_no_share() -> None:
    X, y = blobs()
    head = KNNClassifier(k=50, priors="uniform").fit(X, y)

    head.remove(np.flatnonzero(y == "cat").tolist())

    assert head.classes_.tolist() == ["ape", "bee", "cat", "dog"]
    assert (head.predict_proba(X)[:, 2] == 0).all()
    head.partial_fit(X[y == "cat"][:2], ["cat", "cat"])
    assert head.predict(X[y == "cat"][:2]).tolist() == ["cat", "cat"]


def test_a_k_that_was_given_stays_while_the_temperature_is_chosen() -> None:
    X, y = blobs(n=20)
    head = KNNClassifier(k=10, temperature="auto").fit(X[:6], y[:6])

    assert head.k_ == 10
    assert np.isfinite(head.held_out_logits_).all()
    assert head.partial_fit(X[1:5], y[1:5]).kneighbors(X)[1].shape == (20, 10)


def test_automatic_choices_are_made_again_when_the_rows_have_doubled() -> None:
    X, y = blobs(n=400)
    head = KNNClassifier(k="auto", temperature="auto")

    for part in range(0, 400, 10):
        head.partial_fit(X[part : part + 10], y[part : part + 10], np.unique(y))

    last = KNNClassifier(k="auto", temperature="auto").fit(X[:320], y[:320])
    assert (head.k_, head.temperature_) == (last.k_, last.temperature_)
    assert head.held_out_logits_.shape == (400, 4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ids": ["a", "b", "a"]}, "ids: 'a' is given twice"),
        ({"ids": ["a", "b", "x"]}, "ids: 'x' is there already; remove it first"),
        ({"ids": ["a", "b"]}, "ids: found 2; X has 3 rows"),
        ({"ids": None}, "ids: found none, but earlier rows have some"),
        ({"ids": ["a", "b", "c"], "uris": ["u"]}, "uris: found 1; X has 3 rows"),
    ],
)
def test_rows_that_cannot_be_added_change_nothing(change: dict[str, Any], message: str) -> None:
    X, y = blobs()
    head = KNNClassifier().fit(X[:5], y[:5], ids=["x", "y", "z", "u", "v"])
    before = head.explain(X)

    with pytest.raises(InputError, match=message):
        head.partial_fit(X[5:8], y[5:8], **change)

    assert head.explain(X) == before


def test_ids_are_refused_where_rows_were_numbered() -> None:
    X, y = blobs()

    with pytest.raises(InputError, match="ids: found some, but earlier rows none"):
        KNNClassifier().fit(X, y).partial_fit(X[:1], y[:1], ids=["a"])


@pytest.mark.parametrize(
    "ids",
    [np.arange(100, 220), [("a", row) for row in range(120)], np.arange(120).astype(str)],
)
def test_anything_that_can_be_hashed_is_an_id(ids: Any) -> None:  # noqa: ANN401
    X, y = blobs()
    head = KNNClassifier(k=1).fit(X[:100], y[:100], ids=ids[:100])

    head.partial_fit(X[100:], y[100:], ids=ids[100:]).remove(ids[5:7])

    assert [voters[0].id for voters in head.explain(X[90:110])] == list(ids[90:110])
    with pytest.raises(InputError, match=r"ids: .* is not there"):
        head.remove(ids[6:7])


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([4, 200, 300], "ids: 200, 300 are not there"),
        (["4"], "ids: '4' is not there"),
        ([4, 4], "ids: one is named twice"),
        (range(120), "ids: found all 120; one row must stay; or fit anew"),
        ([9], "ids: 9 is not there"),
    ],
)
def test_rows_that_cannot_be_removed_change_nothing(ids: Any, message: str) -> None:  # noqa: ANN401
    X, y = blobs()
    head = KNNClassifier().fit(X, y)
    if ids == [9]:
        head.remove([9])
    before = head.explain(X)

    with pytest.raises(InputError, match=message):
        head.remove(ids)

    assert head.explain(X) == before


def test_equal_votes_are_kept_in_a_head() -> None:
    X, y = blobs()
    estimator = KNNClassifier(k=7, weights="uniform").fit(X, y)

    head = Head(
        kind="knn", classes=tuple(estimator.classes_.tolist()), arrays=estimator.head_arrays()
    )

    check_head(head)
    expected = np.log((7 * estimator.predict_proba(X) + 1 / 4) / 8)
    np.testing.assert_allclose(head.logits(X), expected, rtol=1e-6)
    assert estimator.tuned_ == {"k": 7, "weights": "uniform"}


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"metric": "l2"}, "metric: found 'l2'; a head file holds 'cosine'"),
        ({"weights": "distance"}, "weights: found 'distance'; a head file holds 'softmax' or"),
        ({"priors": "uniform"}, "priors: found 'uniform'; a head file holds None"),
        ({"priors": [1, 2, 3, 4]}, "priors: found"),
    ],
)
def test_votes_that_a_head_cannot_hold_are_refused(option: dict[str, Any], message: str) -> None:
    head = KNNClassifier(**option).fit(*blobs())

    with pytest.raises(InputError, match=message):
        head.head_arrays()
