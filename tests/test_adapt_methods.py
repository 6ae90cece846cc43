"""What each method of adaptation computes, against plain NumPy and refits."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from featx.errors import UnknownNameError
from featx.heads.folds import deal_folds
from featx.heads.moments import measure_classes
from featx.heads.novelty import Novelty
from featx.heads.predict import Head
from featx.heads.ridge import RidgeProbe
from featx.train.recipe import Recipe as HeadRecipe
from featx.train.train import train
from featx.transfer.adapt.alignment import ALIGNMENTS, SHRINKAGE, moments_of
from featx.transfer.adapt.domains import source_of_rows
from featx.transfer.adapt.labelled import fit_labelled, weighted, without_each
from featx.transfer.adapt.linear import Linear, ridge
from featx.transfer.adapt.methods import METHODS, Method
from featx.transfer.adapt.prior import correct_prior, estimate_prior
from featx.transfer.adapt.remembered import remembered_moments
from featx.transfer.adapt.shift import proxy_a_distance
from memory_set import MemorySet

Rows = NDArray[np.float64]
Codes = NDArray[np.int64]


def blobs(n: int = 300, *, dim: int = 6, apart: float = 4.0, seed: int = 0) -> tuple[Rows, Codes]:
    """Return rows of three classes whose means are `apart` from the middle."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    return rng.normal(size=(n, dim)) + apart * np.eye(3, dim)[y], y


def accuracy(linear: Linear, X: Rows, y: Codes) -> float:
    return float((linear.codes(X) == y).mean())


def test_a_ridge_head_of_moments_is_the_probe_of_the_rows() -> None:
    X, y = blobs()
    probe = RidgeProbe(alphas=[3.0]).fit(X, y)

    found = ridge(measure_classes(X, y, 3), 3.0, dtype=np.float64)

    np.testing.assert_allclose(found.coef, probe.coef_, atol=1e-10)
    np.testing.assert_allclose(found.intercept, probe.intercept_, atol=1e-10)


@pytest.mark.parametrize("name", ALIGNMENTS)
def test_a_folded_head_of_rows_is_the_head_of_aligned_rows(name: str) -> None:
    (X, y), (Z, _) = blobs(), blobs(seed=1)
    Z = 2 * Z + 5
    source = source_of_rows(X, y, 3)

    affine = ALIGNMENTS[name](source.moments, moments_of(Z))

    folded = affine.folded(source.base)
    np.testing.assert_allclose(folded.logits(Z), source.base.logits(affine(Z)), atol=1e-9)


def test_alignments_give_the_target_the_moments_of_the_source() -> None:
    X, Z = np.random.default_rng(0).normal(size=(2, 400, 4))
    X, Z = X @ np.array([[2, 0, 0, 0], [1, 1, 0, 0], [0, 0, 3, 0], [0, 0, 1, 1]]) + 7, 5 * Z - 3
    both = moments_of(X), moments_of(Z)

    moved = {name: align(*both)(Z) for name, align in ALIGNMENTS.items()}

    np.testing.assert_array_equal(moved[""], Z)
    for name in ("centre", "zscore", "coral"):
        np.testing.assert_allclose(moved[name].mean(axis=0), X.mean(axis=0), atol=1e-9)
    np.testing.assert_allclose(np.cov(moved["centre"].T), np.cov(Z.T))
    shrunk = [
        (1 - SHRINKAGE) * each.var(axis=0) + SHRINKAGE * each.var(axis=0).mean() for each in (X, Z)
    ]
    np.testing.assert_allclose(
        moved["zscore"].std(axis=0), Z.std(axis=0) * np.sqrt(shrunk[0] / shrunk[1])
    )
    C, T = (
        (1 - SHRINKAGE) * S + SHRINKAGE * np.trace(S) / 4 * np.eye(4)
        for S in (np.cov(X.T, bias=True), np.cov(Z.T, bias=True))
    )
    whitened = np.linalg.solve(root(T), np.cov(Z.T, bias=True)) @ np.linalg.inv(root(T))
    wanted = root(C) @ whitened @ root(C)
    np.testing.assert_allclose(np.cov(moved["coral"].T, bias=True), wanted, atol=1e-9)


def root(S: Rows) -> Rows:
    values, vectors = np.linalg.eigh(S)
    return np.asarray((vectors * np.sqrt(values)) @ vectors.T)


def test_a_column_that_is_constant_on_one_side_does_no_harm() -> None:
    X, _ = blobs()
    Z = X.copy()
    Z[:, 3] = 1.0

    for align in ALIGNMENTS.values():
        assert np.isfinite(align(moments_of(X), moments_of(Z))(Z)).all()


def test_the_estimated_prior_is_the_most_likely_one() -> None:
    rng = np.random.default_rng(0)
    y = (rng.random(400) < 0.2).astype(int)
    x = rng.normal(size=400) + 2 * y
    odds = np.exp(2 * x - 2)  # of class 1, where both are as common
    probabilities = np.column_stack([1 / (1 + odds), odds / (1 + odds)])
    shares = np.linspace(0.001, 0.999, 999)
    likely = [
        np.log(probabilities @ [2 - 2 * s, 2 * s]).sum() + 0.5 * np.log(s * (1 - s)) for s in shares
    ]

    found = estimate_prior(probabilities, np.array([0.5, 0.5]))

    assert found[1] == pytest.approx(shares[np.argmax(likely)], abs=2e-3)
    assert found[1] == pytest.approx(0.2, abs=0.05)


def test_correcting_the_prior_gives_the_posterior_of_the_target() -> None:
    X, y = blobs(900, apart=1.0)
    Z, z = blobs(900, apart=1.0, seed=1)
    kept = (z == 0) | (np.arange(900) % 12 == 0)
    source = source_of_rows(X, y, 3)

    corrected = correct_prior(source, Z[kept])

    before, after = (source.base.probabilities(Z[kept]), corrected.probabilities(Z[kept]))
    prior = estimate_prior(before, source.prior)
    wanted = before * prior / source.prior
    np.testing.assert_allclose(after, wanted / wanted.sum(axis=1, keepdims=True), atol=1e-9)
    assert accuracy(corrected, Z[kept], z[kept]) > accuracy(source.base, Z[kept], z[kept]) + 0.1


def turned(X: Rows, degrees: float) -> Rows:
    """Turn the plane that the means of the three classes lie in."""
    plane = np.array([[1, -1, 0], [1, 1, -2]]) / np.sqrt([[2], [6]])
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    moved = X.copy()
    moved[:, :3] += X[:, :3] @ plane.T @ ([[c - 1, s], [-s, c - 1]] @ plane)
    return moved


@pytest.mark.parametrize("refinement", ["selftrain", "centroids"])
def test_refinements_follow_clusters_that_have_turned(refinement: str) -> None:
    (X, y), (Z, z) = blobs(apart=5.0), blobs(apart=5.0, seed=1)
    Z = turned(Z, 50)
    source = source_of_rows(X, y, 3)

    found = Method(refinement=refinement).fit(source, Z).linear

    assert accuracy(source.base, Z, z) < 0.9
    assert accuracy(found, Z, z) > 0.97


def test_leaving_a_labelled_row_out_is_a_fit_without_it() -> None:
    (X, y), (Z, z) = blobs(), blobs(12, seed=1)
    moments = weighted(measure_classes(X, y, 3), 0.1).plus(measure_classes(Z, z, 3))

    found = without_each(moments, 2.0, Z, z)

    for row in range(12):
        rest = np.arange(12) != row
        weights = np.repeat([0.1, 1.0], [len(X), 11])
        both = np.concatenate([X, Z[rest]]), np.concatenate([y, z[rest]])
        probe = RidgeProbe(alphas=[2.0]).fit(*both, sample_weight=weights)
        wanted = probe.coef_ @ Z[row] + probe.intercept_
        np.testing.assert_allclose(found[row], wanted, atol=1e-9)


def test_labels_of_the_target_decide_how_much_the_source_counts() -> None:
    X, y = blobs(apart=2.0)
    Z, z = blobs(900, apart=2.0, seed=1)
    source = source_of_rows(X, y, 3)

    alike = fit_labelled(source, Z[:40], z[:40])
    swapped = fit_labelled(source, Z[:90], (z[:90] + 1) % 3)

    assert alike.weight >= 0.1
    assert swapped.weight <= 0.01
    assert accuracy(swapped.linear, Z[90:], (z[90:] + 1) % 3) > 0.8


def test_rows_that_are_nearly_equal_count_once() -> None:
    rng = np.random.default_rng(0)
    X, Z = rng.normal(size=(300, 64)), rng.normal(size=(60, 64))
    source = source_of_rows(X, rng.integers(0, 2, 300), 2)
    z = rng.integers(0, 2, 60)
    copies = np.repeat(Z, 5, axis=0) + 1e-4 * rng.normal(size=(300, 64))

    once, often = fit_labelled(source, Z, z), fit_labelled(source, copies, np.repeat(z, 5))

    assert often.rows.tolist() == list(range(0, 300, 5))
    assert often.weight == once.weight
    np.testing.assert_allclose(often.held_out, once.held_out, atol=0.01)
    np.testing.assert_allclose(often.linear.coef, once.linear.coef, atol=1e-4)
    assert (often.held_out.argmax(axis=1) == z).mean() < 0.65  # they are noise


def test_the_weight_that_a_row_is_judged_with_is_chosen_without_its_fifth() -> None:
    rng = np.random.default_rng(2)
    X, Z = rng.normal(size=(300, 64)), rng.normal(size=(40, 64))
    source = source_of_rows(X, rng.integers(0, 2, 300), 2)
    z = rng.integers(0, 2, 40)

    found = fit_labelled(source, Z, z)

    parts, weights = deal_folds(np.zeros_like(z), 5), []
    for part in range(5):
        rest, own = parts != part, parts == part
        weights.append(fit_labelled(source, Z[rest], z[rest]).weight)
        both = weighted(source.moments, weights[-1]).plus(measure_classes(Z, z, 2))
        alpha = source.alpha * np.trace(both.scatter) / np.trace(source.moments.scatter)
        np.testing.assert_allclose(found.held_out[own], without_each(both, alpha, Z, z)[own])
    assert len(set(weights)) > 1


def test_one_labelled_row_is_enough() -> None:
    (X, y), (Z, z) = blobs(), blobs(1, seed=1)

    found = fit_labelled(source_of_rows(X, y, 3), Z, z)

    assert found.weight == 1
    assert found.held_out.shape == (1, 3)
    assert accuracy(found.linear, X, y) > 0.95


def test_every_method_has_one_name_and_every_other_is_refused() -> None:
    assert len(METHODS) == len(set(METHODS)) == 15
    assert [Method.named(name).name for name in METHODS] == list(METHODS)
    with pytest.raises(UnknownNameError, match="did you mean 'coral'"):
        Method.named("corral")


def test_domains_that_are_alike_cannot_be_told_apart_and_others_can() -> None:
    (X, _), (Z, _) = blobs(500), blobs(500, seed=1)

    alike, (low, _) = proxy_a_distance(X, Z)
    apart, (least, most) = proxy_a_distance(X, Z + 9)

    assert alike < 0.2
    assert low == 0
    assert 1.9 < least <= apart == most == 2 or apart == 2


@pytest.mark.parametrize("n", [300, 40])
@pytest.mark.parametrize("kind", ["ridge", "lda", "logreg"])
def test_a_head_remembers_the_moments_of_its_rows(kind: str, n: int) -> None:
    X, y = blobs(n, dim=60)
    X = X.astype(np.float32)
    head = trained(X, y, kind)

    found = remembered_moments(head)

    wanted = measure_classes(X.astype(np.float64), y, 3)
    for name in ("weight", "mean", "scatter", "target_mean", "cross", "target_square"):
        value: Any = getattr(wanted, name)
        scale = float(np.abs(value).max())
        np.testing.assert_allclose(getattr(found, name), value, atol=1e-4 * scale, err_msg=name)


def trained(X: NDArray[Any], y: Codes, kind: str) -> Head:
    names = np.array([f"class {code}" for code in y], dtype=object)
    return train(MemorySet(X.astype(np.float32), names), HeadRecipe(head=kind))


def test_of_nearly_equal_rows_a_head_remembers_one() -> None:
    X, y = blobs(200, dim=20)
    rng = np.random.default_rng(1)
    copies = np.repeat(X, 3, axis=0) + 1e-4 * rng.normal(size=(600, 20))
    head = trained(copies.astype(np.float32), np.repeat(y, 3), "ridge")

    found = remembered_moments(head)

    assert found is not None
    wanted = measure_classes(copies[::3], y, 3)
    for name in ("weight", "scatter", "cross", "target_mean"):
        value: Any = getattr(wanted, name)
        scale = float(np.abs(value).max())
        np.testing.assert_allclose(getattr(found, name), value, atol=1e-3 * scale, err_msg=name)


def test_what_rounding_leaves_of_directions_without_spread_is_not_negative() -> None:
    X, y = blobs(300, dim=60)
    X[:, 30:] = X[:, :30]
    X[:, [1, 31]] *= 1e4
    head = trained(X, y, "ridge")

    found = remembered_moments(head)

    assert found is not None
    values = np.linalg.eigvalsh(found.scatter)
    assert values[0] > -1e-12 * values[-1]
    assert values[-1] == pytest.approx(np.linalg.eigvalsh(measure_classes(X, y, 3).scatter)[-1])


def test_a_head_whose_novelty_cannot_be_turned_back_remembers_nothing() -> None:
    X, y = blobs(60)
    head = trained(X, y, "ridge")
    assert isinstance(head.novelty, Novelty)
    damaged = replace(head.novelty, whiten=np.zeros_like(head.novelty.whiten))

    assert remembered_moments(replace(head, novelty=damaged)) is None
