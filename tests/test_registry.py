"""Tables of names; a toy of each kind is one line."""

import numpy as np
import pytest

from featx.errors import UnknownNameError
from featx.heads import HEADS
from featx.heads.ridge import RidgeProbe
from featx.index import INDEXES
from featx.index.flat import NumpyFlat
from featx.index.stack import Stack
from featx.modality import MODALITIES
from featx.modality.array import Array
from featx.registry import names, resolve


class ToyModality(Array):
    revision = 7


class ToyHead(RidgeProbe):
    pass


class ToyIndex(NumpyFlat):
    pass


@pytest.mark.parametrize(
    ("kind", "table", "made"),
    [
        ("modality", {**MODALITIES, "toy": f"{__name__}:ToyModality"}, ToyModality),
        ("head", {**HEADS, "toy": f"{__name__}:ToyHead"}, ToyHead),
        ("index", {**INDEXES, "toy": f"{__name__}:ToyIndex"}, ToyIndex),
    ],
)
def test_a_toy_of_each_kind_is_one_line(kind: str, table: dict[str, str], made: type) -> None:
    found = resolve(kind, table, "toy")

    assert found.__name__ == made.__name__
    assert names(kind, table)[-1] == "toy"


def test_a_toy_index_and_head_answer_as_their_kind_does() -> None:
    X = np.eye(3, dtype=np.float32)

    assert ToyIndex.build(Stack.of(X)).search(X, 1).rows.ravel().tolist() == [0, 1, 2]
    many, labels = np.repeat(X, 9, axis=0), np.repeat(["a", "b", "c"], 9)
    assert ToyHead().fit(many, labels).predict(X).tolist() == ["a", "b", "c"]


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown head 'rigde'; did you mean 'ridge'\?"):
        resolve("head", HEADS, "rigde")
