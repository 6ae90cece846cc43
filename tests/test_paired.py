"""Two classifiers on the same rows, where little is known."""

import numpy as np
import pytest

from featx.evaluate.paired import Paired


def test_of_no_rows_nearly_nothing_is_known() -> None:
    none = np.zeros(0, bool)

    found = Paired.of(none, none)

    assert found == Paired(0, 0, 0)
    assert found.difference == 0
    assert found.interval == pytest.approx((-0.98, 0.98), abs=1e-3)
    assert found.facts()["n"] == 0


def test_five_wins_without_a_loss_are_told_from_chance_and_four_are_not() -> None:
    assert Paired(100, wins=5, losses=0).interval == pytest.approx((0.0029, 0.0951), abs=1e-4)
    assert Paired(100, wins=4, losses=0).interval == pytest.approx((-0.0031, 0.0815), abs=1e-4)
