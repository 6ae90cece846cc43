"""The learning curve is what heads of fewer rows reach, and says what more would bring."""

import numpy as np
import pytest

from featx.errors import InputError
from featx.evaluate.interval import wilson_interval
from featx.train.candidates import fit
from featx.train.curve import _extrapolated, learning_curve, require_enough
from featx.train.material import Material, read_material
from featx.train.recipe import Recipe
from featx.train.train import train
from memory_set import MemorySet, digits, noise


def material(data: MemorySet) -> Material:
    return read_material(data, "classify")


@pytest.mark.parametrize("exponent", [0.3, 0.8, 1.2])
def test_a_power_law_is_found_again(exponent: float) -> None:
    n = np.array([20.0, 40.0, 80.0, 160.0, 250.0])

    found = _extrapolated(n, 0.95 - 1.5 * n**-exponent, [300, 600])

    expected = 0.95 - 1.5 * np.array([300.0, 600.0]) ** -exponent
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_more_labels_are_never_said_to_do_harm_nor_to_be_more_than_right() -> None:
    n = np.array([20.0, 40.0, 80.0])

    assert _extrapolated(n, np.array([0.9, 0.8, 0.7]), [100, 200]) == pytest.approx((0.8, 0.8))
    assert max(_extrapolated(n, np.array([0.5, 0.8, 1.0]), [100, 10_000])) <= 1.0


def test_the_last_point_is_five_fold_accuracy() -> None:
    data = digits(200)

    curve = learning_curve(material(data), "ridge", seed=0)

    last = curve["points"][-1]
    assert last["n"] == 160
    assert last["low"] <= last["accuracy"] <= last["high"]
    held_out = fit("ridge", material(data), seed=0).logits.argmax(axis=1) == material(data).y
    assert last["accuracy"] == pytest.approx(held_out.mean(), abs=0.05)


def test_what_doubling_is_said_to_bring_is_what_it_brings() -> None:
    promised = learning_curve(material(digits(300)), "ridge", seed=0)

    reached = learning_curve(material(digits(600)), "ridge", seed=0)

    assert [point["n"] for point in promised["points"]] == [20, 38, 75, 150, 240]
    assert promised["doubled"]["n"] == reached["now"]["n"] == 600
    low, high = promised["doubled"]["interval"]
    assert low - 0.02 <= reached["now"]["accuracy"] <= high + 0.02
    assert promised["doubled"]["accuracy"] >= promised["now"]["accuracy"]


def test_of_noise_more_labels_bring_nothing() -> None:
    curve = learning_curve(material(noise(200)), "ridge", seed=0)

    assert curve["doubled"]["accuracy"] == pytest.approx(0.5, abs=0.12)


def test_a_lone_item_of_a_class_is_never_scored() -> None:
    labels = np.array(["a", "b"] * 22 + ["lone"], dtype=object)
    places = {"a": 0, "b": 9, "lone": -9}
    X = np.random.default_rng(0).normal(size=(45, 3))
    X += np.array([places[label] for label in labels])[:, None]

    for seed in range(5):
        curve = learning_curve(material(MemorySet(X.astype(np.float32), labels)), "lda", seed=seed)
        assert curve["points"][-1]["accuracy"] == 1.0


def test_items_that_are_all_right_leave_room_for_doubt() -> None:
    y = np.arange(48) % 2
    X = np.random.default_rng(0).normal(size=(48, 4)) + 9 * np.eye(4)[y]
    data = MemorySet(X.astype(np.float32), np.array(["a", "b"], dtype=object)[y])

    curve = learning_curve(material(data), "ridge", seed=0)

    for end in (curve["now"], curve["doubled"]):
        assert end["accuracy"] == 1.0
        assert end["interval"] == list(wilson_interval(48, 48))


def test_too_few_rows_are_refused_before_the_training() -> None:
    with pytest.raises(InputError, match="curve: 30 different rows of 2 classes; needs 40 or more"):
        require_enough(material(noise(30)))
    with pytest.raises(InputError, match="curve: 38 different rows of 2 classes; needs 40"):
        train(noise(38), Recipe(curve=True))
    require_enough(material(noise(40)))


def test_many_classes_need_five_rows_each() -> None:
    labels = np.array([f"c{i % 20:02d}" for i in range(99)], dtype=object)
    data = MemorySet(noise(99).X, labels)

    with pytest.raises(InputError, match="99 different rows of 20 classes; needs 100 or more"):
        require_enough(material(data))


def test_tags_and_values_have_no_curve() -> None:
    with pytest.raises(InputError, match="task 'regress' has no accuracy to follow"):
        Recipe(task="regress", curve=True)


def test_a_curve_is_the_same_twice() -> None:
    data = material(digits(120))

    assert learning_curve(data, "logreg", seed=4) == learning_curve(data, "logreg", seed=4)
