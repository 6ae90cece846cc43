"""What the heads make of input that is not as it should be: a right answer or one clear line."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.base import clone

from featx.errors import InputError
from featx.heads.base import LinearHead
from featx.heads.centroid import CentroidProbe
from featx.heads.lda import LDAProbe
from featx.heads.linear import LinearProbe
from featx.heads.ridge import RidgeProbe, RidgeProbeRegressor

SAME = 1e-6  # logits of rows that are the same but for their layout, in float64

HEADS: list[LinearHead] = [CentroidProbe(), LDAProbe(), LinearProbe(), RidgeProbe()]
every_head = pytest.mark.parametrize("head", HEADS, ids=lambda head: type(head).__name__)


def blobs(
    n: int = 60, d: int = 6, c: int = 3, *, spread: float = 1.5
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    rng = np.random.default_rng(0)
    y = np.arange(n) % c
    return rng.normal(size=(n, d)) + spread * rng.normal(size=(c, d))[y], y


def fitted(head: LinearHead, X: Any, y: Any, **options: Any) -> Any:  # noqa: ANN401
    """Return a fresh copy of `head`, fitted, after a look at what every head promises."""
    found: Any = clone(head).fit(X, y, **options)
    assert np.isfinite(found.held_out_logits_).all()
    assert np.isfinite(found.coef_).all()
    assert np.isfinite(found.intercept_).all()
    np.testing.assert_allclose(found.predict_proba(X).sum(axis=1), 1, atol=1e-5)
    return found


@every_head
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e200])
def test_rows_that_are_not_finite_are_named(head: LinearHead, value: float) -> None:
    X, y = blobs()
    X[3, 1], X[17] = value, value

    with pytest.raises(InputError) as caught:
        clone(head).fit(X, y)

    assert str(caught.value) == (
        f"{type(head).__name__}: X holds NaN, infinity or values beyond 1e+150 in 2 of 60 rows:"
        " 3, 17; expected finite numbers; leave these rows out"
    )


@every_head
def test_a_query_that_is_not_finite_is_named(head: LinearHead) -> None:
    X, y = blobs()
    found = fitted(head, X, y)
    X[2:40, 0] = np.nan

    with pytest.raises(InputError, match=r"in 38 of 60 rows: 2, 3, 4, 5, 6, \.\.\.; expected"):
        found.predict(X)


def test_a_regressor_names_rows_and_refuses_values_that_are_not_finite() -> None:
    X, _ = blobs()
    good = RidgeProbeRegressor().fit(X, X[:, 0])
    bad = np.where(np.arange(60)[:, None] == 5, np.nan, X)

    with pytest.raises(InputError, match=r"RidgeProbeRegressor: X holds .* in 1 of 60 rows: 5;"):
        RidgeProbeRegressor().fit(bad, X[:, 0])
    with pytest.raises(InputError, match="in 1 of 60 rows: 5;"):
        good.predict(bad)
    with pytest.raises(ValueError, match="Input y contains NaN"):
        RidgeProbeRegressor().fit(X, bad[:, 0])


@every_head
def test_constant_and_dead_columns_change_nothing(head: LinearHead) -> None:
    X, y = blobs()
    if isinstance(head, LDAProbe):
        # Its shrinkage aims at the mean variance, in which a dead column has a part.
        head = LDAProbe(shrinkage=1e-9)
    wide = np.insert(X, [0, 3, 6], [0.0, 0.1, -7.0], axis=1)

    plain, found = fitted(head, X, y), fitted(head, wide, y)

    np.testing.assert_allclose(found.decision_function(wide), plain.decision_function(X), atol=1e-4)
    np.testing.assert_array_equal(found.predict(wide), plain.predict(X))


@every_head
def test_repeated_columns_do_no_harm(head: LinearHead) -> None:
    X, y = blobs()

    found = fitted(head, np.hstack([X, X, X]), y)

    plain = fitted(head, X, y)
    assert (found.predict(np.hstack([X, X, X])) == plain.predict(X)).mean() > 0.95
    assert (found.held_out_logits_.argmax(axis=1) == y).mean() > 0.8


@every_head
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_equal_rows_get_the_first_of_the_most_frequent_classes(
    head: LinearHead, dtype: str
) -> None:
    X, y = np.full((10, 3), 0.1, dtype=dtype), np.array([0] * 7 + [1] * 3)

    assert set(fitted(head, X, y).predict(X)) == {0}


@every_head
@pytest.mark.parametrize(
    ("y", "shown"),
    [
        (np.array(["ant"] * 9), "'ant'"),
        (np.array(["ant"] * 9, dtype=object), "'ant'"),
        (np.ones(9, dtype=np.int64), "1"),
        ([True] * 9, "True"),
    ],
)
def test_one_class_is_refused_by_its_name(head: LinearHead, y: Any, shown: str) -> None:  # noqa: ANN401
    with pytest.raises(InputError) as caught:
        clone(head).fit(np.eye(9), y)

    assert str(caught.value) == (
        f"{type(head).__name__}: y holds one class, {shown};"
        " expected two or more; add items of another class"
    )


@every_head
@pytest.mark.parametrize(("n", "d"), [(2, 1), (2, 9), (30, 8), (30, 50)])
def test_one_row_a_class_is_enough(head: LinearHead, n: int, d: int) -> None:
    X = 3.0 * np.eye(n, d) + 0.1 * np.random.default_rng(1).normal(size=(n, d))
    X[:, 0] += np.arange(n) * (d < n)

    found = fitted(head, X, np.arange(n))

    # A line tells no more than two classes apart; in more dimensions a class has its direction.
    if n == 2 or d > n:
        np.testing.assert_array_equal(found.predict(X), np.arange(n))


@every_head
def test_a_class_absent_from_folds_is_learnt_and_never_foreseen(head: LinearHead) -> None:
    X, y = blobs(41, 6, 2)
    X[0], y[0] = 9.0, 2

    found = fitted(head, X, y)

    row = found.held_out_logits_[0].astype(np.float64)
    share = np.exp(row[2] - np.logaddexp.reduce(row))
    assert found.predict(X[:1]).tolist() == [2]
    # 1 / (n + 2), n being the rows of the other folds, or all others; ridge has a value of its own.
    if not isinstance(head, RidgeProbe):
        assert 1 / 43 <= share <= 1 / 33


@every_head
@pytest.mark.parametrize(
    ("labels", "types"),
    [
        (np.array(["ant", 1, "bee"] * 4, dtype=object), "int and str"),
        (["ant", 1, "bee"] * 4, "int and str"),
        (np.array(["ant", None, "bee"] * 4, dtype=object), "NoneType and str"),
        (np.array(["ant", np.nan, "bee"] * 4, dtype=object), "float and str"),
        ([1, None, 2] * 4, "NoneType and int"),
    ],
)
def test_labels_of_mixed_types_are_refused(head: LinearHead, labels: Any, types: str) -> None:  # noqa: ANN401
    X, _ = blobs(12)

    with pytest.raises(InputError, match=f"y holds labels of types {types}; expected one type"):
        clone(head).fit(X, labels)


@every_head
@pytest.mark.parametrize(
    "names",
    [
        np.array(["ant", "bee", "cat"]),
        np.array(["ant", "bee", "cat"], dtype=object),
        np.array([-5, 0, 70]),
        np.array([0.0, 1.0, 2.0]),
    ],
)
def test_labels_of_any_one_type_come_back_as_they_were(
    head: LinearHead, names: NDArray[Any]
) -> None:
    X, y = blobs(spread=9)

    found = fitted(head, X, names[y])

    assert found.predict(X).dtype == names.dtype
    np.testing.assert_array_equal(found.predict(X), names[y])


@every_head
def test_a_matrix_of_other_values_than_0_and_1_is_no_matrix_of_tags(head: LinearHead) -> None:
    X, y = blobs()

    with pytest.raises(InputError, match="y is a matrix of other values than 0 and 1"):
        clone(head).fit(X, np.stack([y, y], axis=1))


@every_head
@pytest.mark.parametrize("common", [1, 2])
def test_a_rare_class_is_found(head: LinearHead, common: int) -> None:
    rng = np.random.default_rng(2)
    y = np.append(np.arange(200) % common, [common] * 20)
    X = rng.normal(size=(220, 6)) + 3.0 * np.eye(3, 6)[y] * (y > 0)[:, None] * 2

    found = fitted(head, X, y)

    held_out = found.held_out_logits_.argmax(axis=1)
    assert min((held_out[y == c] == c).mean() for c in range(common + 1)) > 0.8


@every_head
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_fewer_rows_than_columns_are_enough(head: LinearHead, dtype: str) -> None:
    X, y = blobs(12, 300)

    found = fitted(head, X.astype(dtype), y)

    assert found.coef_.dtype == found.held_out_logits_.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(found.predict(X), y)
    np.testing.assert_array_equal(found.held_out_logits_.argmax(axis=1), y)


@every_head
def test_a_row_of_weight_zero_is_no_row(head: LinearHead) -> None:
    X, y = blobs()
    w = np.where(np.arange(60) < 45, 1.0, 0.0)
    labels = np.where(w > 0, y, 7)
    options: dict[str, Any] = {"C": 1.0, "cv": None} if isinstance(head, LinearProbe) else {}
    head = clone(head).set_params(**options)
    X[45:] *= 100

    found: Any = clone(head).fit(X, labels, sample_weight=w)

    plain: Any = clone(head).fit(X[:45], y[:45])
    np.testing.assert_array_equal(found.classes_, [0, 1, 2])
    np.testing.assert_allclose(
        found.decision_function(X[:45]), plain.decision_function(X[:45]), atol=1e-4
    )
    assert found.temperature_ == pytest.approx(plain.temperature_, rel=1e-4)


@every_head
def test_weights_that_leave_one_class_or_none_are_refused(head: LinearHead) -> None:
    X, y = blobs()

    with pytest.raises(InputError, match="y holds one class, 1; expected two or more"):
        clone(head).fit(X, y, sample_weight=(y == 1).astype(float))
    with pytest.raises(ValueError, match="Sample weights must contain at least one non-zero"):
        clone(head).fit(X, y, sample_weight=np.zeros(60))
    with pytest.raises(ValueError, match="Negative values in data passed to `sample_weight`"):
        clone(head).fit(X, y, sample_weight=-np.ones(60))
    with pytest.raises(ValueError, match="Input sample_weight contains NaN"):
        clone(head).fit(X, y, sample_weight=np.full(60, np.nan))


@every_head
@pytest.mark.parametrize("layout", ["strided", "fortran", "reversed", "map", "map in Fortran"])
def test_the_layout_of_the_rows_does_not_matter(
    head: LinearHead, layout: str, tmp_path: Path
) -> None:
    X, y = blobs(60, 12)
    X = X[:, ::2].copy()
    np.save(tmp_path / "rows.npy", X)
    np.save(tmp_path / "columns.npy", np.asfortranarray(X))
    same = {
        "strided": np.repeat(X, 2, axis=1)[:, ::2],
        "fortran": np.asfortranarray(X),
        "reversed": X[::-1].copy()[::-1],
        "map": np.load(tmp_path / "rows.npy", mmap_mode="r"),
        "map in Fortran": np.load(tmp_path / "columns.npy", mmap_mode="r"),
    }[layout]
    before = same.copy()

    found = fitted(head, same, y)

    plain = fitted(head, X, y)
    np.testing.assert_allclose(found.decision_function(same), plain.decision_function(X), atol=SAME)
    np.testing.assert_allclose(found.held_out_logits_, plain.held_out_logits_, atol=SAME)
    np.testing.assert_array_equal(same, before)


@every_head
@pytest.mark.parametrize("dtype", ["float16", "int8", "int64", "uint8", "bool"])
def test_other_numbers_are_solved_in_float64(head: LinearHead, dtype: str) -> None:
    X, y = blobs()
    X = (X * 10).clip(0, 100).astype(dtype)

    found = fitted(head, X, y)

    plain = fitted(head, X.astype(np.float64), y)
    assert found.coef_.dtype == np.float64
    np.testing.assert_array_equal(found.coef_, plain.coef_)


@every_head
@pytest.mark.parametrize("size", [1e-6, 1e6])
def test_the_size_of_float32_rows_does_not_matter(head: LinearHead, size: float) -> None:
    X, y = blobs()
    X = X.astype(np.float32)
    scaled = X * np.float32(size)

    found = fitted(head, scaled, y)

    np.testing.assert_array_equal(found.predict(scaled), fitted(head, X, y).predict(X))


@every_head
def test_a_fit_leaves_its_input_as_it_was(head: LinearHead) -> None:
    X, y = blobs()
    w = np.ones(60)
    copies = X.copy(), y.copy(), w.copy()

    fitted(head, X, y, sample_weight=w)

    for mine, before in zip((X, y, w), copies, strict=True):
        np.testing.assert_array_equal(mine, before)


@every_head
def test_two_fits_are_equal_to_the_bit(head: LinearHead) -> None:
    X, y = blobs()

    first, again = fitted(head, X, y), fitted(head, X, y)

    np.testing.assert_array_equal(first.coef_, again.coef_)
    np.testing.assert_array_equal(first.held_out_logits_, again.held_out_logits_)


@pytest.mark.parametrize("tag", [0, 1])
@pytest.mark.parametrize("head", [RidgeProbe(), LinearProbe()])
def test_a_tag_that_all_rows_have_or_none_is_predicted(head: LinearHead, tag: int) -> None:
    X, y = blobs()
    Y = np.stack([np.full(60, tag), y == 0], axis=1).astype(np.int64)

    found: Any = clone(head).fit(X, Y)

    np.testing.assert_array_equal(found.predict(X)[:, 0], np.full(60, tag))
    assert np.isfinite(found.held_out_logits_).all()
    assert (found.predict(X)[:, 1] == Y[:, 1]).mean() > 0.8


@every_head
def test_values_whose_squares_vanish_are_refused(head: LinearHead) -> None:
    X, y = blobs()

    with pytest.raises(InputError, match=r"largest value of X is .*; expected 1e-19 or more"):
        clone(head).fit((X * 1e-25).astype(np.float32), y)
