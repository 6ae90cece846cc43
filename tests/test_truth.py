"""Labels become codes, tags or values, and what they cannot become is named."""

import pytest

from featx.errors import InputError
from featx.evaluate.truth import label_numbers


def test_classes_are_numbered_in_the_order_of_their_names() -> None:
    names, y = label_numbers(["b", "a", "c", "a"], "classify")

    assert names == ("a", "b", "c")
    assert y.tolist() == [1, 0, 2, 0]


def test_a_heads_names_come_first_and_others_after_them() -> None:
    names, y = label_numbers(["x", "b", "a"], "classify", ("b", "never", "a"))

    assert names == ("b", "never", "a", "x")
    assert y.tolist() == [3, 0, 2]


def test_tags_are_split_at_bars_and_a_bar_alone_is_none() -> None:
    names, y = label_numbers(["red|round", " round | big", "|", "red||red"], "multilabel")

    assert names == ("big", "red", "round")
    assert y.tolist() == [[0, 1, 1], [1, 0, 1], [0, 0, 0], [0, 1, 0]]


def test_tags_beyond_those_of_a_head_get_columns() -> None:
    names, y = label_numbers(["new", "b"], "multilabel", ("a", "b"))

    assert names == ("a", "b", "new")
    assert y.tolist() == [[0, 0, 1], [0, 1, 0]]


def test_values_are_one_number_or_several() -> None:
    names, y = label_numbers(["1.5", "-2e3"], "regress")
    assert (names, y.tolist()) == (("value",), [[1.5], [-2000.0]])

    names, y = label_numbers(["1|2", "3|4.5"], "regress")
    assert (names, y.tolist()) == (("value 1", "value 2"), [[1.0, 2.0], [3.0, 4.5]])

    names, y = label_numbers(["7|7"], "regress", ("kg", "cm"))
    assert (names, y.tolist()) == (("kg", "cm"), [[7.0, 7.0]])


@pytest.mark.parametrize(
    ("labels", "names", "problem"),
    [
        (["1", "cat"], None, "label 'cat' is not a number; the task regress needs numbers"),
        (["1", "nan"], None, "label 'nan' is not a number"),
        (["1", "inf"], None, "label 'inf' is not a number"),
        (["1", "1|2"], None, r"label '1\|2' is not a number"),
        (["1|2", "3"], None, r"label '3' is not 2 numbers joined by \|"),
        (["2", "2"], None, "every label is '2'; expected different numbers"),
        (["cat"], ("value",), "the head's task is regress; score a set whose labels are such"),
    ],
)
def test_labels_that_are_no_values_are_named(
    labels: list[str], names: tuple[str, ...] | None, problem: str
) -> None:
    with pytest.raises(InputError, match=problem):
        label_numbers(labels, "regress", names)


def test_labels_that_tell_nothing_apart_are_refused() -> None:
    with pytest.raises(InputError, match="hold one class, 'a'; expected two classes or more"):
        label_numbers(["a", "a"], "classify")
    with pytest.raises(InputError, match="no row has a tag; expected labels such as"):
        label_numbers(["|", "|"], "multilabel")
    with pytest.raises(InputError, match="every row has the same tags, a, b"):
        label_numbers(["a|b", "b|a"], "multilabel")


def test_one_tag_alone_is_refused() -> None:
    with pytest.raises(InputError, match="one tag, 'red'; expected two or more"):
        label_numbers(["red", "|", "red"], "multilabel")
