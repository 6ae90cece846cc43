"""Pooling, against loops."""

import numpy as np
import pytest

from featx.backbone.pooling import normalize, pool_parts, pool_tokens
from featx.types import Vectors
from featx.zoo.manifest import Pooling

FLOAT32_SUMS = 1e-6
"""A sum of a dozen float32 numbers near 1, in another order."""


def numbers(*shape: int) -> Vectors:
    return np.random.default_rng(5).standard_normal(shape, dtype=np.float32)


def oracle_tokens(tokens: Vectors, lengths: list[int], pooling: Pooling) -> Vectors:
    pooled = []
    for sequence, length in zip(tokens.astype(np.float64), lengths, strict=True):
        real = sequence[:length]
        chosen = {"cls": sequence[0], "last_token": sequence[max(length - 1, 0)]}
        mean = real.mean(axis=0) if length else np.zeros(tokens.shape[2])
        pooled.append(chosen.get(pooling, mean))
    return np.array(pooled, dtype=np.float32)


@pytest.mark.parametrize("pooling", ["mean", "cls", "last_token"])
def test_token_rows_are_joined_as_a_loop_does_it(pooling: Pooling) -> None:
    tokens, lengths = numbers(4, 7, 5), [7, 1, 3, 0]
    mask = (np.arange(7) < np.array(lengths)[:, None]).astype(np.int64)

    found = pool_tokens(tokens, mask, pooling)

    wanted = oracle_tokens(tokens, lengths, pooling)
    np.testing.assert_allclose(found, wanted, rtol=FLOAT32_SUMS, atol=FLOAT32_SUMS)
    assert found.dtype == np.float32


@pytest.mark.parametrize("pooling", ["mean", "cls", "last_token"])
def test_what_lies_in_the_padding_does_not_matter(pooling: Pooling) -> None:
    tokens = numbers(2, 6, 3)
    mask = np.array([[1, 1, 1, 0, 0, 0], [1, 1, 0, 0, 0, 0]])
    other = np.where(mask[:, :, None] == 1, tokens, np.float32(1e6))

    np.testing.assert_array_equal(
        pool_tokens(tokens, mask, pooling), pool_tokens(other, mask, pooling)
    )


def oracle_parts(X: Vectors, parts: list[int], *, unit: bool) -> Vectors:
    out, at = [], 0
    for count in parts:
        block = X[at : at + count].astype(np.float64)
        if unit:
            block = block / np.linalg.norm(block, axis=1, keepdims=True)
        out.append(block.mean(axis=0))
        at += count
    return np.array(out, dtype=np.float32)


@pytest.mark.parametrize("unit", [False, True])
@pytest.mark.parametrize("parts", [[1, 1, 1], [3, 1, 2], [1], [6]])
def test_parts_of_an_item_are_averaged_as_a_loop_does_it(parts: list[int], unit: bool) -> None:
    X = numbers(sum(parts), 4)

    found = pool_parts(X, np.array(parts, dtype=np.int64), unit=unit)

    wanted = oracle_parts(X, parts, unit=unit)
    np.testing.assert_allclose(found, wanted, rtol=FLOAT32_SUMS, atol=FLOAT32_SUMS)
    assert found.dtype == np.float32


def test_no_items_pool_to_no_rows() -> None:
    found = pool_parts(numbers(0, 4), np.empty(0, dtype=np.int64), unit=True)

    assert found.shape == (0, 4)


def test_rows_are_scaled_to_unit_length_and_zero_rows_stay_zero() -> None:
    X = numbers(5, 3)
    X[2] = 0

    found = normalize(X)

    wanted = [np.zeros(3) if not row.any() else row / np.sqrt((row**2).sum()) for row in X]
    np.testing.assert_allclose(found, np.array(wanted), rtol=FLOAT32_SUMS, atol=FLOAT32_SUMS)
    assert found.dtype == np.float32


def test_rows_that_are_not_finite_do_not_become_zero_rows() -> None:
    X = np.array([[np.nan, 1], [np.inf, 1], [3, 4]], dtype=np.float32)

    unit = normalize(X)

    assert np.isfinite(unit).all(axis=1).tolist() == [False, False, True]
