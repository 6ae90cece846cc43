"""Rows taken out of a matrix."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from featx.data.segment import RowView
from featx.data.spool import take_rows
from featx.errors import StoreError
from featx.heads.linear import LinearProbe

X = np.random.default_rng(0).normal(size=(500, 6)).astype(np.float32)


@pytest.fixture(params=["in memory", "in a file"])
def _place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "in a file":
        monkeypatch.setattr("featx.data.spool.MOST_BYTES", 0)
        monkeypatch.setattr("featx.data.spool._BLOCK_BYTES", 4 * 6 * 7)


@pytest.mark.usefixtures("_place")
@pytest.mark.parametrize("kept", [np.array([4, 499, 4, 0]), np.arange(500) % 3 == 0])
@pytest.mark.parametrize("matrix", [X, RowView([X[:200], X[200:]])], ids=["one", "several"])
def test_rows_are_those_that_were_asked_for(matrix: Any, kept: NDArray[Any]) -> None:  # noqa: ANN401
    np.testing.assert_array_equal(take_rows(matrix, kept), X[kept])


def test_a_head_of_rows_in_a_file_is_that_of_rows_in_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    y = np.where(X[:, 0] + X[:, 1] > 0, "a", "b")
    rows = np.arange(len(X))
    wanted = LinearProbe().fit(take_rows(X, rows), y)
    monkeypatch.setattr("featx.data.spool.MOST_BYTES", 0)
    monkeypatch.setattr("featx.heads.logisticrows.CENTRED_BYTES", 0)

    spooled = take_rows(RowView([X[:200], X[200:]]), rows)
    found = LinearProbe().fit(spooled, y)

    assert not spooled.flags.writeable
    assert found.C_ == wanted.C_
    np.testing.assert_allclose(found.coef_, wanted.coef_, rtol=1e-3, atol=1e-4)


def test_a_place_without_room_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("featx.data.spool.MOST_BYTES", 0)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))

    with pytest.raises(StoreError, match=f"{tmp_path}/none: "):
        take_rows(X, np.arange(9))
