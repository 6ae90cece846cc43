"""Heads of scikit-learn: their names, and that their graphs say what they say."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.base import is_classifier, is_regressor
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import Ridge
from sklearn.model_selection import cross_val_score
from sklearn.svm import SVC
from threadpoolctl import threadpool_limits

from featx.errors import InputError, UnknownNameError
from featx.heads.folds import deal_folds, group_folds
from featx.heads.foreign import SklearnHead, require_convertible
from featx.heads.foreign_graph import PROBABILITY_FLOOR, estimator_logits, to_graph
from featx.heads.foreign_name import make_estimator
from featx.heads.foreign_scorer import onnx_logits

DIM = 12

CLASSIFIERS = [
    "svm.SVC",
    "svm.SVC(C=10, kernel='linear')",
    "svm.LinearSVC",
    "ensemble.RandomForestClassifier(n_estimators=20)",
    "ensemble.HistGradientBoostingClassifier(max_iter=10)",
    "ensemble.GradientBoostingClassifier(n_estimators=5)",
    "neural_network.MLPClassifier(max_iter=50)",
    "naive_bayes.GaussianNB",
    "neighbors.KNeighborsClassifier",
    "linear_model.SGDClassifier",
    "linear_model.RidgeClassifier",
    "tree.DecisionTreeClassifier",
]
REGRESSORS = [
    ("linear_model.Ridge", 1),
    ("linear_model.Ridge", 2),
    ("svm.SVR", 1),
    ("svm.SVR", 2),
    ("ensemble.HistGradientBoostingRegressor(max_iter=10)", 1),
    ("tree.DecisionTreeRegressor", 2),
]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    # On a busy machine threads of OpenMP wait for each other, for minutes.
    with threadpool_limits(1):
        yield


def classes(n_classes: int, n: int = 120) -> tuple[NDArray[np.float32], NDArray[np.str_]]:
    rng = np.random.default_rng(n_classes)
    codes = np.arange(n) % n_classes
    X = rng.normal(size=(n_classes, DIM))[codes] + rng.normal(size=(n, DIM))
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    return X.astype(np.float32), np.array(["ant", "bee", "cat", "dog"])[codes]


def values(n_outputs: int) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    X, _ = classes(3)
    Y = X @ np.random.default_rng(1).normal(size=(DIM, n_outputs)) + 5
    return X, Y[:, 0] if n_outputs == 1 else Y


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_the_graph_of_a_classifier_gives_its_labels_and_logits(name: str, n_classes: int) -> None:
    X, y = classes(n_classes)
    head = SklearnHead(name, cv=2).fit(X, y)

    logits = onnx_logits(head.head_arrays(), X, n_classes)

    np.testing.assert_array_equal(head.classes_, np.unique(y))
    np.testing.assert_allclose(logits, estimator_logits(head.estimator_, X, name=name), atol=1e-2)
    np.testing.assert_array_equal(head.predict(X), head.classes_[logits.argmax(axis=1)])
    np.testing.assert_allclose(head.predict_proba(X).sum(axis=1), 1, rtol=1e-5)
    assert np.isfinite(head.held_out_logits_).all()
    held_out = head.classes_[head.held_out_logits_.argmax(axis=1)]
    assert (held_out == y).mean() > 0.6
    assert is_classifier(head)


@pytest.mark.parametrize(("name", "n_outputs"), REGRESSORS)
def test_the_graph_of_a_regressor_gives_its_values(name: str, n_outputs: int) -> None:
    X, Y = values(n_outputs)
    head = SklearnHead(name, cv=3).fit(X, Y)

    found = onnx_logits(head.head_arrays(), X, n_outputs)

    expected = np.asarray(head.estimator_.predict(X)).reshape(len(X), -1)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert head.held_out_logits_.shape == (len(X), n_outputs)
    assert is_regressor(head)
    assert head.temperature_ == 1.0
    assert head.predict(X).shape == np.shape(Y)
    assert head.score(X, Y) == pytest.approx(head.estimator_.score(X, Y), abs=1e-3)


def test_a_head_is_an_estimator_that_scikit_learn_can_score() -> None:
    X, y = classes(2)
    _, Y = values(1)

    accuracies = cross_val_score(SklearnHead("svm.SVC", cv=2), X, y, cv=3)
    areas = cross_val_score(SklearnHead("svm.SVC", cv=2), X, y, cv=3, scoring="roc_auc")
    explained = cross_val_score(SklearnHead("linear_model.Ridge", cv=2), X, Y, cv=3)

    np.testing.assert_array_equal(accuracies, cross_val_score(SVC(), X, y, cv=3))
    np.testing.assert_allclose(areas, cross_val_score(SVC(), X, y, cv=3, scoring="roc_auc"))
    np.testing.assert_allclose(explained, cross_val_score(Ridge(), X, Y, cv=3), atol=1e-4)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_decision_values_are_logits_or_their_difference(n_classes: int) -> None:
    X, y = classes(n_classes)
    head = SklearnHead("linear_model.LogisticRegression", cv=2).fit(X, y)

    logits = onnx_logits(head.head_arrays(), X, n_classes)

    expected = logits[:, 1] - logits[:, 0] if n_classes == 2 else logits
    np.testing.assert_array_equal(head.decision_function(X), expected)


def test_a_regressor_has_no_probabilities() -> None:
    head = SklearnHead("linear_model.Ridge")

    assert not hasattr(head, "predict_proba")
    assert not hasattr(head, "decision_function")


def test_held_out_logits_are_those_of_fits_without_each_fold() -> None:
    X, y = classes(2)
    head = SklearnHead("svm.SVC", cv=3, random_state=4).fit(X, y)

    codes = np.unique(y, return_inverse=True)[1]
    folds = deal_folds(codes, 3, seed=4)
    for fold in range(3):
        made = SVC(random_state=4).fit(X[folds != fold], codes[folds != fold])
        half = made.decision_function(X[folds == fold]) / 2
        expected = np.stack([-half, half], axis=1)
        np.testing.assert_allclose(head.held_out_logits_[folds == fold], expected, rtol=1e-6)


def test_a_class_that_a_fold_lacks_gets_laplaces_probability() -> None:
    X, y = classes(3, n=61)
    y[0] = "zebra"

    head = SklearnHead("naive_bayes.GaussianNB", cv=5).fit(X, y)

    row = np.exp(head.held_out_logits_[0])
    assert row[:3].sum() == pytest.approx(1, abs=1e-4)
    fold = np.bincount(deal_folds(np.unique(y, return_inverse=True)[1], 5))[0]
    assert row[3] == pytest.approx(1 / (61 - fold + 1), rel=0.05)


def test_two_processes_give_what_one_gives_and_equal_graphs() -> None:
    X, y = classes(3, n=60)
    name = "ensemble.RandomForestClassifier(n_estimators=5)"

    one = SklearnHead(name, cv=2).fit(X, y)
    two = SklearnHead(name, cv=2, n_jobs=2).fit(X, y)

    np.testing.assert_array_equal(one.held_out_logits_, two.held_out_logits_)
    assert one.head_arrays()["graph"].tobytes() == two.head_arrays()["graph"].tobytes()


def test_weights_reach_the_estimator_or_are_refused() -> None:
    X, y = classes(2)
    weights = np.where(y == "ant", 1.0, 0.05)

    plain = SklearnHead("svm.SVC", cv=2).fit(X, y)
    weighted = SklearnHead("svm.SVC", cv=2).fit(X, y, sample_weight=weights)

    assert (weighted.predict(X) == "ant").sum() > (plain.predict(X) == "ant").sum()
    with pytest.raises(InputError, match=r"KNeighborsClassifier: takes no weights; leave them out"):
        SklearnHead("neighbors.KNeighborsClassifier").fit(X, y, sample_weight=weights)


def test_groups_share_a_fold() -> None:
    X, y = classes(2)
    groups = np.arange(len(y)) // 4

    head = SklearnHead("linear_model.RidgeClassifier", cv=3).fit(X, y, groups=groups)

    codes = np.unique(y, return_inverse=True)[1]
    folds = group_folds(codes, groups, 3)
    splits = [(np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)) for fold in range(3)]
    given = SklearnHead("linear_model.RidgeClassifier", cv=splits).fit(X, y)
    dealt = SklearnHead("linear_model.RidgeClassifier", cv=3).fit(X, y)
    np.testing.assert_array_equal(head.held_out_logits_, given.held_out_logits_)
    assert not np.array_equal(head.held_out_logits_, dealt.held_out_logits_)


def test_what_scikit_learn_warned_of_is_kept() -> None:
    X, y = classes(2)

    head = SklearnHead("neural_network.MLPClassifier(max_iter=2)", cv=2).fit(X, y)

    assert head.tuned_["estimator"] == "neural_network.MLPClassifier(max_iter=2)"
    assert head.tuned_["folds"] == 2
    assert head.tuned_["graph_difference"] < 1e-2
    assert head.tuned_["notes"] == [
        "Stochastic Optimizer: Maximum iterations (2) reached and the optimization hasn't "
        "converged yet."
    ]


def test_tags_and_single_classes_are_refused() -> None:
    X, y = classes(2)

    with pytest.raises(InputError, match="y is a matrix of tags; expected one class a row"):
        SklearnHead("svm.SVC").fit(X, np.stack([y == "ant", y == "bee"], axis=1).astype(int))
    with pytest.raises(InputError, match=r"y holds one class, .*'ant'.*; expected two or more"):
        SklearnHead("svm.SVC").fit(X, np.full(len(X), "ant"))
    with pytest.raises(InputError, match="1 folds of 120 rows; expected 2 or more"):
        SklearnHead("svm.SVC", cv=1).fit(X, y)


@pytest.mark.parametrize(
    ("name", "repr_"),
    [
        ("svm.SVC", "SVC(random_state=0)"),
        ("sklearn:svm.SVC(C=10, kernel='poly')", "SVC(C=10, kernel='poly', random_state=0)"),
        ("sklearn.svm.LinearSVC(random_state=3)", "LinearSVC(random_state=3)"),
        ("linear_model.Ridge(random_state=None)", "Ridge(random_state=0)"),
        ("naive_bayes.GaussianNB()", "GaussianNB()"),
        ("neural_network.MLPRegressor(hidden_layer_sizes=(-1, 2))", "MLPRegressor(hidden_layer"),
    ],
)
def test_a_name_makes_an_estimator(name: str, repr_: str) -> None:
    assert repr(make_estimator(name)).startswith(repr_)


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("svm.SVG", UnknownNameError, r"estimator 'svm.SVG'; did you mean 'svm.SV.'\?"),
        ("SVC", UnknownNameError, r"estimator 'SVC'; did you mean 'svm.SVC'\?"),
        ("svn.SVC", UnknownNameError, r"did you mean 'svm.SVC'\?"),
        ("calibration.LinearSVC", UnknownNameError, "known: svm.LinearSVC"),
        ("os.system", UnknownNameError, r"'os.system'; known: calibration.\*, .*tree.\*"),
        ("svm.os", UnknownNameError, "unknown scikit-learn estimator 'svm.os'"),
        ("svm.SVC.fit", UnknownNameError, "did you mean 'svm.SVC'"),
        ("base.BaseEstimator", UnknownNameError, "unknown scikit-learn estimator"),
        ("preprocessing.StandardScaler", UnknownNameError, "unknown scikit-learn estimator"),
        ("svm.SVC(kernell='rbf')", InputError, r"argument 'kernell'; did you mean 'kernel'\?"),
        ("svm.SVC(10)", InputError, "an argument without a name; expected a name such as svm.SVC"),
        ("svm.SVC(**{'C': 1})", InputError, "an argument without a name"),
        ("svm.SVC(C=__import__('os').getpid())", InputError, "not a name with plain values"),
        ("svm.SVC(C=open)", InputError, "not a name with plain values"),
        ("svm.SVC(C=1", InputError, "not a name with plain values"),
        ("svm.SVC()()", InputError, "not a dotted name"),
        ("(lambda: 1)", InputError, "not a dotted name"),
        ("", InputError, "found '', not a name with plain values"),
        ("multiclass.OneVsRestClassifier", InputError, "needs 'estimator', another estimator"),
        ("ensemble.StackingClassifier", InputError, "needs 'estimators', another estimator"),
        ("svm.SVR", InputError, "SVR is a regressor; task 'classify' needs another"),
    ],
)
def test_another_name_is_refused(name: str, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message) as caught:
        make_estimator(name, task="classify")

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("neighbors.NearestCentroid", "has no ONNX form .*; try --head centroid"),
        (
            "calibration.CalibratedClassifierCV(method='temperature')",
            "has no ONNX form .*; try --head logreg, which is calibrated",
        ),
        ("gaussian_process.GaussianProcessClassifier", r"operator '.*'; allowed: .*; try --head"),
        (
            "ensemble.AdaBoostClassifier(n_estimators=2)",
            r"has no ONNX form \(graph: operator '.*Shape'; allowed: .*; try --head logreg",
        ),
        ("neighbors.KNeighborsClassifier(p=1)", "operator 'Scan'; allowed: .*; try --head knn"),
        ("discriminant_analysis.LinearDiscriminantAnalysis", "its ONNX graph gives .* logits that"),
        ("svm.SVC(C=-1)", "scikit-learn says: The 'C' parameter of SVC must be a float"),
        ("naive_bayes.MultinomialNB", "scikit-learn says: Negative values in data"),
        (
            "neighbors.KNeighborsClassifier(n_neighbors=1000)",
            "scikit-learn says: Expected n_neighbors",
        ),
    ],
)
def test_what_could_not_be_saved_is_refused_before_training(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        require_convertible(name, 384, 2, "classify")

    assert str(caught.value).startswith(f"sklearn:{name}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "n_columns", "task"),
    [
        ("svm.SVC", 2, "classify"),
        ("svm.SVC", 1000, "classify"),
        ("ensemble.HistGradientBoostingClassifier(max_iter=5)", 3, "classify"),
        ("svm.SVR", 3, "regress"),
    ],
)
def test_what_can_be_saved_is_let_through(name: str, n_columns: int, task: Any) -> None:  # noqa: ANN401
    require_convertible(name, 384, n_columns, task)


def test_a_graph_that_says_something_else_is_refused() -> None:
    X, y = classes(3)
    codes = np.unique(y, return_inverse=True)[1]
    made = HistGradientBoostingClassifier(max_iter=3).fit(X, codes)
    to_graph(made, X, 3, name="it")
    proba = made.predict_proba
    made.predict_proba = lambda X: proba(X)[:, ::-1]

    with pytest.raises(InputError, match=r"it: its ONNX graph gives other labels to \d+"):
        to_graph(made, X, 3, name="it")


def test_boosted_trees_split_rows_at_thresholds_as_scikit_learn_does() -> None:
    # Neighbouring float32 values: a threshold between two of them is no float32.
    steps = 1 + np.arange(64) * np.float64(np.finfo(np.float32).eps)
    X = np.repeat(steps.astype(np.float32), 4)[:, None]
    y = (np.arange(len(X)) // 4) % 7
    made = HistGradientBoostingRegressor(max_iter=20, min_samples_leaf=1).fit(X, y)

    graph, difference = to_graph(made, X, 1, name="it")

    assert difference < 1e-5
    np.testing.assert_allclose(
        onnx_logits({"graph": graph}, X, 1)[:, 0], made.predict(X), atol=1e-5
    )


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (HistGradientBoostingRegressor(loss="poisson", max_iter=2), "loss 'poisson' is not"),
        (
            HistGradientBoostingRegressor(categorical_features=[0], max_iter=2),
            "categorical features are not converted",
        ),
    ],
)
def test_boosted_trees_of_another_kind_are_refused(
    estimator: HistGradientBoostingRegressor, message: str
) -> None:
    X = np.tile(np.arange(5, dtype=np.float32), 8)[:, None]
    estimator.fit(X, X[:, 0])

    with pytest.raises(InputError, match=message):
        to_graph(estimator, X, 1, name="it")


def test_logits_of_probabilities_are_their_floored_logarithms() -> None:
    X, y = classes(2)
    made = make_estimator("tree.DecisionTreeClassifier").fit(X, y)

    logits = estimator_logits(made, X, name="it")

    assert set(np.round(np.exp(logits), 9).ravel()) == {PROBABILITY_FLOOR, 1.0}


def test_groups_and_given_folds_contradict_each_other() -> None:
    X = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    y, rows = np.arange(20) % 2, np.arange(20)
    pairs = [(rows[10:], rows[:10]), (rows[:10], rows[10:])]

    with pytest.raises(InputError, match="groups and folds are given; expected one of them"):
        SklearnHead("naive_bayes.GaussianNB", cv=pairs).fit(X, y, groups=rows)
