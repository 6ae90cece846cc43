"""Array files that are damaged are one line that names the file, whatever NumPy raises on them."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from command_line import refused
from featx.data.sources import open_source
from featx.data.sources.arrays import Arrays
from featx.data.sources.options import Options
from featx.errors import InputError
from featx.types import Item

X = np.arange(12, dtype=np.float32).reshape(3, 4)
HEADER_BYTES = 128
WANTED = "expected a .npy or .npz file of numbers, never pickled objects"


def npy() -> bytes:
    file = io.BytesIO()
    np.save(file, X)
    return file.getvalue()


def npz() -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, X=X, y=["a", "b", "c"])
    return file.getvalue()


def with_header(text: str) -> bytes:
    raw = text.encode().ljust(HEADER_BYTES - 11) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(raw).to_bytes(2, "little") + raw + X.tobytes()


HEADERS = {
    "token": "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4",
    "indent": "  {'descr': '<f4'\n 1",
    "syntax": "lambda: 0",
    "null": "{'descr': '<f4'\0}",
    "no dictionary": "[]",
    "keys of two kinds": "{1: 2, 'a': 3, None: 4}",
    "unhashable": "{[]: 1}",
    "deep": "(" * 100,
    "unary": "-" * 110 + "1",
    "no type": "{'descr': 'nope', 'fortran_order': False, 'shape': (3, 4)}",
    "list of types": "{'descr': [1, 2], 'fortran_order': False, 'shape': (3, 4)}",
    "huge": "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999, 4)}",
    "large": "{'descr': '<f4', 'fortran_order': False, 'shape': (999999, 4)}",
    "negative": "{'descr': '<f4', 'fortran_order': False, 'shape': (-3, 4)}",
    "twice negative": "{'descr': '<f4', 'fortran_order': False, 'shape': (-3, -4)}",
    "no integer": "{'descr': '<f4', 'fortran_order': False, 'shape': (3.0, 4)}",
    "objects": "{'descr': '|O', 'fortran_order': False, 'shape': (3, 4)}",
}


def read(path: Path) -> list[Item]:
    return list(open_source(path, modality="array"))


def problem_of(path: Path) -> str:
    try:
        read(path)
    except InputError as error:
        return str(error)
    return "none"


@pytest.mark.parametrize("name", HEADERS)
def test_a_damaged_header_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "x.npy").write_bytes(with_header(HEADERS[name]))

    with pytest.raises(InputError) as caught:
        read(tmp_path / "x.npy")

    assert str(caught.value) == f"{tmp_path / 'x.npy'}: cannot be read as arrays; {WANTED}"


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    name=st.sampled_from(["x.npy", "x.npz"]),
    end=st.integers(0, 1 << 10),
    flips=st.lists(st.tuples(st.integers(0, 1 << 10), st.integers(1, 255)), max_size=3),
)
def test_random_damage_never_ends_in_another_error(
    tmp_path: Path, name: str, end: int, flips: list[tuple[int, int]]
) -> None:
    content = bytearray(npy() if name == "x.npy" else npz())
    for at, mask in flips:
        content[at % len(content)] ^= mask
    (tmp_path / name).write_bytes(content[: end or None])

    assert problem_of(tmp_path / name).startswith((f"{tmp_path / name}: ", "none"))


@pytest.mark.parametrize("end", range(0, HEADER_BYTES + 1, 8))
def test_a_file_that_ends_early_is_named(tmp_path: Path, end: int) -> None:
    (tmp_path / "x.npy").write_bytes(npy()[:end])
    (tmp_path / "x.npz").write_bytes(npz()[:end])

    for name in ("x.npy", "x.npz"):
        with pytest.raises(InputError, match=rf"{name}: cannot be read as arrays; expected"):
            read(tmp_path / name)


def test_a_file_of_the_other_kind_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_bytes(npy())
    (tmp_path / "x.npy").write_bytes(npz())

    for name in ("x.npy", "x.npz"):
        with pytest.raises(InputError, match=rf"{name}: cannot be read as arrays; expected"):
            read(tmp_path / name)


def test_members_that_are_no_arrays_are_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("X", b"words")
    with zipfile.ZipFile(tmp_path / "y.npz", "w") as archive:
        archive.writestr("X.npy", npy())
        archive.writestr("y", b"words")

    with pytest.raises(InputError, match=r"x\.npz: dtype .*; real numbers are needed"):
        read(tmp_path / "x.npz")
    with pytest.raises(InputError, match=r"y\.npz: 'y' has shape \(\); \(3,\) is needed"):
        read(tmp_path / "y.npz")


def test_why_a_file_cannot_be_opened_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no\.npy: cannot be read: No such file or directory$"):
        list(Arrays(tmp_path / "no.npy", Options(modality="array")))


def test_the_command_says_it_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "bad.npy").write_bytes(with_header(HEADERS["token"]))

    for arguments in (("-m", "identity"), ("-m", "identity", "--dry-run")):
        line = refused("embed", tmp_path / "bad.npy", "-o", tmp_path / "x.emb", *arguments)
        assert line == f"{tmp_path / 'bad.npy'}: cannot be read as arrays; {WANTED}"
    assert not (tmp_path / "x.emb").exists()
