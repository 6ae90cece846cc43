"""What a head is fitted to: distinct labelled items of the right split."""

from dataclasses import replace

import numpy as np
import pytest

from featx.errors import InputError
from featx.evaluate.labelled import left_out
from featx.train.material import lost_classes, read_material
from memory_set import MemorySet, noise

KNOWN, NONE = "11" * 32, ""


def small(labels: list[str | None], digests: list[str]) -> MemorySet:
    X = np.arange(2 * len(labels), dtype=np.float32).reshape(-1, 2)
    return MemorySet(X, np.array(labels, dtype=object), digests=digests)


def test_items_of_equal_contents_count_once_with_the_first_label() -> None:
    digests = [KNOWN, "22" * 32, KNOWN, NONE, NONE, KNOWN]

    material = read_material(small(["a", "b", "b", "a", "a", "a"], digests), "classify")

    assert material.rows.rows.tolist() == [0, 1, 3, 4]
    assert material.y.tolist() == [0, 1, 0, 0]
    assert material.contradicted.tolist() == [0]


def test_without_repeats_nothing_is_contradicted() -> None:
    material = read_material(noise(10), "classify")

    assert material.rows.rows.tolist() == list(range(10))
    assert material.contradicted.tolist() == []


def test_rows_that_are_not_finite_or_unlabelled_are_left_out() -> None:
    data = small(["a", None, "b", "a"], [NONE] * 4)
    data.X[3, 0] = np.nan

    material = read_material(data, "classify")

    assert material.rows.rows.tolist() == [0, 2]
    assert material.rows.unfit.tolist() == [3]
    assert left_out(data, material.rows.unfit) == [
        "1 labelled vector is NaN or infinite and left out, first that of row 3; to mend it"
        " delete embedding set and embed it again"
    ]


def test_a_set_without_a_finite_labelled_row_is_refused() -> None:
    data = small(["a", "b"], [NONE] * 2)
    data.X[:] = np.nan

    with pytest.raises(
        InputError, match="embedding set: all 2 labelled vectors are NaN or infinite"
    ):
        read_material(data, "classify")


def test_only_the_train_split_is_read_where_there_is_one() -> None:
    splits = ["train", "val", "test", "train", None, "train"]
    data = noise(6)

    assert read_material(replace(data, splits=splits), "classify").rows.rows.tolist() == [0, 3, 5]
    unsplit = replace(data, splits=[None, "val", None, "test", None, None])
    assert read_material(unsplit, "classify").rows.rows.tolist() == [0, 2, 4, 5]


def test_rows_that_are_all_held_back_are_not_trained_on() -> None:
    data = replace(noise(6), splits=["val", "test"] * 3)

    with pytest.raises(InputError, match="all 6 labelled rows are in split test, val; expected"):
        read_material(data, "classify")


def test_items_are_counted_by_class_and_by_tag() -> None:
    labels = ["a|b", "b", "|", "a"]

    assert read_material(small([*"abb"], [NONE] * 3), "classify").counts() == [1, 2]
    assert read_material(small([*labels], [NONE] * 4), "multilabel").counts() == [2, 2]


def test_a_part_keeps_all_names_and_knows_which_classes_it_lost() -> None:
    material = read_material(small([*"abca"], [NONE] * 4), "classify")
    kept = np.array([True, False, True, False])

    assert material.take(kept).names == ("a", "b", "c")
    assert material.take(kept).y.tolist() == [0, 2]
    assert lost_classes(material, kept).tolist() == [False, True, False]
