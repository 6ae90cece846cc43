"""Rows of sets and galleries, exported and read back by other libraries."""

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from command_line import call, done, refused
from featx.data.store import EmbeddingSet
from featx.data.writer import Facts, SetWriter
from featx.errors import InputError, MissingPackageError
from featx.export import TAKES, VECTORS
from featx.export.vectors.choices import Choices
from featx.export.vectors.table import of_gallery, of_set
from featx.gallery.build import GalleryRecipe
from featx.gallery.gallery import Gallery
from featx.index.faiss import load_faiss
from featx.registry import resolve
from featx.zoo.manifest import Precision
from gallery_sets import DIM, MODEL, build, label_of, rows_of, vectors, write_set
from readers import HERE, PEERS, Read, by_peer, by_pyarrow

N, SEGMENT = 60, 25
FEW = Choices(file_rows=20)
"""Three files of a folder, which no segment ends with."""

READ_BACK = [
    pytest.param(out, read, id=f"{out} {read.__name__}")
    for out, readers in HERE.items()
    for read in readers
]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> EmbeddingSet:
    path = tmp_path_factory.mktemp("set") / "a.emb"
    write_set(path, vectors(N), segment=SEGMENT)
    with SetWriter(path, model=MODEL, segment_rows=SEGMENT) as writer:
        writer.tell([Facts(r.id, r.uri, r.label, r.split) for r in rows_of(N)])
        return writer.finish()


@pytest.fixture
def made(original: EmbeddingSet, tmp_path: Path) -> EmbeddingSet:
    """Give a test a set of its own."""
    return EmbeddingSet.open(shutil.copytree(original.path, tmp_path / "a.emb"))


def write(made: EmbeddingSet, out: Path, choices: Choices = FEW) -> dict[str, Any]:
    """Export a set in the form that the name of the output says."""
    form = out.suffix[1:] or out.name
    if form == "lance":
        pytest.importorskip("lance", reason="the extra lance is not installed")
    told: dict[str, Any] = resolve("format", VECTORS, form)(out, of_set(made), choices)
    return told


def check(found: Read, precision: str = "fp32") -> None:
    ids, labels, X = found
    assert list(ids) == [f"i{row}" for row in range(N)]
    assert list(labels) == [label_of(row) for row in range(N)]
    wanted = vectors(N).astype(np.float16) if precision == "fp16" else vectors(N)
    np.testing.assert_array_equal(np.asarray(X, np.float32), wanted.astype(np.float32))


@pytest.mark.parametrize(("out", "read"), READ_BACK)
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_other_libraries_read_equal_ids_labels_and_vectors(
    out: str, read: Callable[[Path], Read], precision: Precision, made: EmbeddingSet, tmp_path: Path
) -> None:
    write(made, tmp_path / out, Choices(file_rows=20, precision=precision))

    check(read(tmp_path / out), precision)


@pytest.mark.peer
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("out", "environment", "program"), PEERS.values(), ids=PEERS)
def test_peers_read_equal_ids_labels_and_vectors(
    out: str, environment: str, program: str, made: EmbeddingSet, tmp_path: Path
) -> None:
    write(made, tmp_path / out)

    check(by_peer(tmp_path / out, environment, program, tmp_path))


def test_every_form_of_rows_is_read_back_by_some_library() -> None:
    here = {Path(out).suffix[1:] or out for out in HERE}

    assert here | {out for out, _, _ in PEERS.values()} == set(VECTORS)


@pytest.mark.parametrize("form", ["parquet", "hf", "npy"])
def test_a_folder_has_files_of_so_many_rows(form: str, made: EmbeddingSet, tmp_path: Path) -> None:
    files = {"parquet": "part-*.parquet", "hf": "data-*", "npy": "emb/*.npy"}

    write(made, tmp_path / form, Choices(file_rows=25))

    names = sorted(path.name for path in (tmp_path / form).glob(files[form]))
    wanted = {
        "parquet": [f"part-0000{number}.parquet" for number in range(3)],
        "hf": [f"data-0000{number}-of-00003.arrow" for number in range(3)],
        "npy": [f"emb_0000{number}.npy" for number in range(3)],
    }
    assert names == wanted[form]


@pytest.mark.parametrize("form", [form for form in VECTORS if form != "lance"])
def test_a_set_without_rows_is_exported_too(form: str, tmp_path: Path) -> None:
    write_set(tmp_path / "none.emb", vectors(0))
    out = tmp_path / f"x.{form}"

    resolve("format", VECTORS, form)(out, of_set(EmbeddingSet.open(tmp_path / "none.emb")), FEW)

    stream = out / "data-00000-of-00001.arrow"
    empty: dict[str, Callable[[], int]] = {
        "parquet": lambda: pq.read_table(out).num_rows,
        "arrow": lambda: pa.ipc.open_file(str(out)).read_all().num_rows,
        "hf": lambda: pa.ipc.open_stream(stream.read_bytes()).read_all().num_rows,
        "faiss": lambda: int(load_faiss().read_index(str(out / "index.faiss")).ntotal),
        "npy": lambda: len(np.load(out / "emb" / "emb_00000.npy")),
    }
    assert empty[form]() == 0


def test_a_table_says_what_made_its_vectors(made: EmbeddingSet, tmp_path: Path) -> None:
    write(made, tmp_path / "x.parquet")

    schema = pq.read_schema(tmp_path / "x.parquet")

    assert schema.field("vector").type == pa.list_(pa.float32(), DIM)
    assert json.loads(schema.metadata[b"featx.source"]) == {
        "made_of": "a.emb",
        "model": "identity",
        "modality": "array",
        "fingerprint": "f" * 64,
        "space": "5" * 64,
        "dim": DIM,
        "normalize": False,
    }


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_flat_index_is_the_file_that_faiss_writes(
    precision: Precision, made: EmbeddingSet, tmp_path: Path
) -> None:
    faiss = load_faiss()
    index = faiss.index_factory(DIM, "Flat" if precision == "fp32" else "SQfp16", faiss.METRIC_L2)
    index.add(vectors(N))
    faiss.write_index(index, str(tmp_path / "own.faiss"))

    write(made, tmp_path / "faiss", Choices(precision=precision))

    exported = (tmp_path / "faiss" / "index.faiss").read_bytes()
    assert exported == (tmp_path / "own.faiss").read_bytes()


def test_another_index_finds_what_faiss_finds(made: EmbeddingSet, tmp_path: Path) -> None:
    faiss, X = load_faiss(), vectors(N)

    told = write(made, tmp_path / "faiss", Choices(index="HNSW8,Flat"))

    assert told == {"index": "HNSW8,Flat", "metric": "l2"}
    index = faiss.read_index(str(tmp_path / "faiss" / "index.faiss"))
    _, rows = index.search(X[:5], 1)
    assert rows.ravel().tolist() == [0, 1, 2, 3, 4]


def test_an_index_that_faiss_does_not_make_is_refused(made: EmbeddingSet, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--index Flut: faiss makes no such index of 6 numbers"):
        write(made, tmp_path / "faiss", Choices(index="Flut"))
    with pytest.raises(InputError, match=r"rows do not train this index: .*; use Flat"):
        write(made, tmp_path / "faiss", Choices(index="IVF1000,Flat"))

    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.emb"]


def test_a_gallery_is_exported_as_it_is_searched(tmp_path: Path) -> None:
    build(tmp_path, GalleryRecipe(kind="exact", metric="cosine"), n=N).close()
    with Gallery.open(tmp_path / "a.knn", writable=True) as gallery:
        gallery.remove(["i1"])
        table = of_gallery(gallery.snapshot)
        for out in ("x.parquet", "faiss"):
            form = out.rpartition(".")[2]
            resolve("format", VECTORS, form)(tmp_path / out, table, FEW)

    kept = [row for row in range(N) if row != 1]
    ids, labels, X = by_pyarrow(tmp_path / "x.parquet")
    assert ids == [f"i{row}" for row in kept]
    assert labels == [label_of(row) for row in kept]
    np.testing.assert_array_equal(X, vectors(N)[kept])
    index = load_faiss().read_index(str(tmp_path / "faiss" / "index.faiss"))
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    np.testing.assert_allclose(index.reconstruct_n(0, len(kept)), unit, rtol=1e-6)


@pytest.mark.parametrize(("out", "read"), READ_BACK)
@pytest.mark.parametrize("told", [0, N - 1, N + 45])
def test_an_export_has_the_rows_that_come_however_many_were_told(
    told: int, out: str, read: Callable[[Path], Read], made: EmbeddingSet, tmp_path: Path
) -> None:
    form = out.partition(".")[2] or out
    if form == "lance":
        pytest.importorskip("lance", reason="the extra lance is not installed")

    resolve("format", VECTORS, form)(tmp_path / out, replace(of_set(made), rows=told), FEW)

    check(read(tmp_path / out))


@pytest.mark.parametrize("out", ["x.parquet", "x.arrow", *(set(VECTORS) - {"arrow", "lance"})])
def test_an_export_replaces_its_own_kind_and_nothing_else(
    out: str, made: EmbeddingSet, tmp_path: Path
) -> None:
    form = Path(out).suffix[1:] or out
    asked = ("export", made.path, "-o", tmp_path / out, "--format", form)

    for _ in range(2):
        done(*asked)
    before = sorted(path.name for path in tmp_path.iterdir())
    if (tmp_path / out).is_dir():
        (tmp_path / out / "notes.txt").write_text("mine")
        assert "an export to which 'notes.txt' was added is in the way" in refused(*asked)
        shutil.rmtree(tmp_path / out)
        (tmp_path / out).mkdir()
        (tmp_path / out / "notes.txt").write_text("mine")
        assert "a folder that is no export is in the way" in refused(*asked)
        assert (tmp_path / out / "notes.txt").read_text() == "mine"
    else:
        (tmp_path / out).write_text("mine")
        assert "a file that is not as it was exported is in the way" in refused(*asked)
        assert (tmp_path / out).read_text() == "mine"

    assert sorted(path.name for path in tmp_path.iterdir()) == before == sorted(["a.emb", out])


@pytest.mark.parametrize("form", [form for form in VECTORS if form != "lance"])
def test_what_fails_on_the_way_leaves_nothing(
    form: str, made: EmbeddingSet, tmp_path: Path
) -> None:
    (made.path / "segment-00001.parquet").write_bytes(b"damaged")

    told = refused("export", made.path, "-o", tmp_path / f"x.{form}", "--format", form)

    assert "segment-00001.parquet: cannot be read" in told
    assert [path.name for path in tmp_path.iterdir()] == ["a.emb"]


def test_a_set_is_no_place_for_an_export(made: EmbeddingSet, tmp_path: Path) -> None:
    for out in (made.path / "x.parquet", made.path):
        told = refused("export", made.path, "-o", out, "--format", "parquet")
        assert f"lies in the embedding set {made.path}" in told

    assert EmbeddingSet.open(made.path).ids == [f"i{row}" for row in range(N)]


def test_numbers_that_half_precision_does_not_hold_are_refused(tmp_path: Path) -> None:
    X = vectors(N)
    X[7, 2] = 1e6
    made = write_set(tmp_path / "a.emb", X)

    with pytest.raises(InputError, match=r"hold 1e\+06; float16 holds 65504 at most; use fp32"):
        write(made, tmp_path / "x.parquet", Choices(precision="fp16"))


@pytest.mark.parametrize(
    "choices", [Choices(precision="fp16"), Choices(index="SQfp16")], ids=["precision", "index"]
)
def test_no_index_of_halves_holds_infinity(choices: Choices, tmp_path: Path) -> None:
    X = vectors(N)
    X[7, 2] = 1e5
    made = write_set(tmp_path / "a.emb", X)

    with pytest.raises(InputError, match="hold 100000; float16 holds 65504 at most; use fp32"):
        write(made, tmp_path / "faiss", choices)

    assert [path.name for path in tmp_path.iterdir()] == ["a.emb"]


@pytest.mark.parametrize(
    ("source", "form", "message"),
    [
        ("a.emb", "onnx", "is an embedding set, which is not exported as onnx; choose from parq"),
        ("a.emb", "skops", "is an embedding set, which is not exported as skops"),
        ("a.knn", "joblib", "is a gallery, which is not exported as joblib; choose from onnx, pa"),
        ("a.head", "parquet", "is a head, which is not exported as parquet; choose from onnx, jo"),
        ("b.emb", "arrow", "not an embedding set: nothing is there; make one with: featx embed"),
    ],
)
def test_things_in_forms_that_are_not_theirs_are_refused(
    source: str, form: str, message: str, made: EmbeddingSet, tmp_path: Path
) -> None:
    told = refused("export", tmp_path / source, "-o", tmp_path / "x", "--format", form)

    assert message in told


@pytest.mark.parametrize(
    ("form", "options", "message"),
    [
        ("parquet", ["--script"], "--format parquet takes none of the options of onnx."),
        ("hf", ["--index", "Flat"], "--format hf takes no --index; faiss alone does."),
    ],
)
def test_options_of_other_forms_are_refused(
    form: str, options: list[str], message: str, made: EmbeddingSet, tmp_path: Path
) -> None:
    result = call("export", made.path, "-o", tmp_path / "x", "--format", form, *options)

    assert result.exit_code == 2
    assert message in result.stderr


def test_the_command_says_what_it_wrote(made: EmbeddingSet, tmp_path: Path) -> None:
    out = tmp_path / "x.faiss"

    told = done("export", made.path, "-o", out)
    facts = json.loads(done("export", made.path, "-o", out, "--precision", "fp16", "--json"))

    assert told.startswith(f"{out}: 60 items of 6 numbers, fp32, 0.0 MB, index Flat, metric l2")
    assert {name: facts[name] for name in ("out", "format", "items", "dim", "precision")} == {
        "out": str(out),
        "format": "faiss",
        "items": N,
        "dim": DIM,
        "precision": "fp16",
    }
    assert facts["size_bytes"] == sum(path.stat().st_size for path in out.iterdir())


def test_without_pylance_the_extra_is_named(
    made: EmbeddingSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "lance", None)

    with pytest.raises(MissingPackageError, match=r"run: pip install 'featx\[lance\]'"):
        resolve("format", VECTORS, "lance")(tmp_path / "x.lance", of_set(made), FEW)


def test_every_form_takes_something() -> None:
    assert {kind for takes in TAKES.values() for kind in takes} == {
        "head",
        "gallery",
        "embedding set",
    }
