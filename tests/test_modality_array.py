import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from featx.errors import ItemError
from featx.modality.array import Array
from featx.zoo.manifest import ArrayOptions, Manifest


def build(shape: tuple[int, ...] = ()) -> Array:
    return Array(
        Manifest(
            schema=1,
            name="identity",
            modality="array",
            summary="",
            license="",
            source="",
            weights="identity",
            dim=3,
            pooling="none",
            normalize=False,
            array=ArrayOptions(shape=shape),
        )
    )


def test_a_vector_becomes_one_float32_row() -> None:
    array = build()

    sample = array.load(array.read(np.array([1, 2, 3], dtype=np.int64)))

    assert sample.inputs["array"].dtype == np.float32
    np.testing.assert_array_equal(sample.inputs["array"], [[1, 2, 3]])


def test_equal_arrays_give_equal_bytes_whatever_their_layout() -> None:
    array = build((2, 3))
    rows = np.arange(6.0).reshape(2, 3)

    raw = array.read(rows)

    assert array.read(np.asfortranarray(rows)) == raw
    assert array.read(rows.astype(">f8")) == raw
    np.testing.assert_array_equal(array.load(raw).inputs["array"], rows[None])


def test_a_column_major_file_is_read_in_row_order(tmp_path: Path) -> None:
    array, rows = build((2, 3)), np.arange(6.0).reshape(2, 3)
    np.save(tmp_path / "a.npy", np.asfortranarray(rows))

    sample = array.load(array.read(tmp_path / "a.npy"))

    np.testing.assert_array_equal(sample.inputs["array"], rows[None])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.array([1.0, np.nan, np.inf]), r"holds 2 values .* the first at \[1\]"),
        (np.array([1.0, 2.0, 1e300]), r"holds 1 values .* the first at \[2\]"),
        (np.zeros(4), r"has shape \(4,\); expected \(3,\)"),
        (np.array(1.0), r"has shape \(\); expected \(3,\)"),
        (np.zeros(3, dtype=np.complex64), "array of complex64; expected numbers"),
        (np.array(["a", "b", "c"]), "expected numbers"),
    ],
)
def test_an_unusable_array_is_an_item_error(value: NDArray[Any], message: str) -> None:
    array = build()

    with pytest.raises(ItemError, match=message):
        array.load(array.read(value))


class Bomb:
    def __reduce__(self) -> tuple[object, ...]:
        return (pytest.fail, ("a pickle was opened",))


def test_objects_are_refused_and_never_unpickled() -> None:
    file = io.BytesIO()
    np.save(file, np.array([Bomb(), 1, 2], dtype=object), allow_pickle=True)

    with pytest.raises(ItemError, match="never unpickled"):
        build().load(file.getvalue())


@pytest.mark.parametrize("cut", [3, 20, 90, 140])
def test_a_cut_file_is_an_item_error(cut: int) -> None:
    raw = build().read(np.zeros(3))

    with pytest.raises(ItemError, match=r"damaged|not a \.npy"):
        build().load(raw[:cut])


def test_a_header_that_promises_a_terabyte_allocates_nothing() -> None:
    whole = build().read(np.zeros(3))
    raw = whole.replace(b"(3,), }" + b" " * 12, b"(1000000000000,), }")

    with pytest.raises(
        ItemError, match=r"24 bytes follow the \.npy header, which promises 8000000000000"
    ):
        build().load(raw)


@pytest.mark.parametrize("shape", ["(-1, -3)", "(0, 10000000000000000000000)"])
def test_an_impossible_shape_is_an_item_error(shape: str) -> None:
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".encode()
    values = b"" if shape.startswith("(0") else bytes(24)
    raw = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + values

    with pytest.raises(ItemError, match=r"is damaged: its \.npy header promises the shape"):
        build().load(raw)


def test_the_preview_shows_shape_and_values() -> None:
    assert build().preview(build().read(np.array([0.5, 1, 2]))) == "float64 (3,): 0.5 1 2"
    assert build().preview(b"nonsense") == ""
