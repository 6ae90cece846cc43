"""What exported rows replace, and what stays."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from featx.data.store import EmbeddingSet
from featx.errors import StoreError
from featx.export import VECTORS
from featx.export.vectors.choices import Choices
from featx.export.vectors.table import Block, of_set
from featx.registry import resolve
from gallery_sets import vectors, write_set

N = 60
FEW = Choices(file_rows=20)
"""Three files of a folder."""


@pytest.fixture
def made(tmp_path: Path) -> EmbeddingSet:
    return write_set(tmp_path / "a.emb", vectors(N))


def write(made: EmbeddingSet, out: Path, choices: Choices = FEW) -> dict[str, Any]:
    """Export a set in the form that the name of the output says."""
    form = out.suffix[1:] or out.name
    told: dict[str, Any] = resolve("format", VECTORS, form)(out, of_set(made), choices)
    return told


@pytest.mark.parametrize("change", ["a column more", "another label"])
@pytest.mark.parametrize("out", ["x.parquet", "x.arrow"])
def test_a_table_that_was_changed_since_is_not_replaced(
    out: str, change: str, made: EmbeddingSet, tmp_path: Path
) -> None:
    path = tmp_path / out
    write(made, path)
    table = pq.read_table(path) if out == "x.parquet" else pa.ipc.open_file(str(path)).read_all()
    if change == "a column more":
        mine = table.append_column("notes", pa.array(["mine"] * N))
    else:
        at = table.schema.get_field_index("label")
        mine = table.set_column(at, "label", pa.array(["mine"] * N))
    if out == "x.parquet":
        pq.write_table(mine, path)
    else:
        with pa.ipc.new_file(str(path), mine.schema) as file:
            file.write_table(mine)
    before = path.read_bytes()

    with pytest.raises(StoreError, match="a file that is not as it was exported is in the way"):
        write(made, path)

    assert path.read_bytes() == before


def test_what_is_added_while_an_export_runs_stays(made: EmbeddingSet, tmp_path: Path) -> None:
    out, table = tmp_path / "npy", of_set(made)
    write(made, out)
    before = sorted(out.rglob("*"))

    def read(rows: int) -> Iterator[Block]:
        for block in table.read(rows):
            (out / "mine.txt").write_text("mine")
            yield block

    with pytest.raises(StoreError, match=r"an export to which 'mine\.txt' was added"):
        resolve("format", VECTORS, "npy")(out, replace(table, read=read), FEW)

    assert sorted(out.rglob("*")) == sorted([*before, out / "mine.txt"])
    assert (out / "mine.txt").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.emb", "npy"]


@pytest.mark.parametrize("kind", ["folder", "link"])
def test_folders_and_links_count_as_added(kind: str, made: EmbeddingSet, tmp_path: Path) -> None:
    out = tmp_path / "npy"
    write(made, out)
    if kind == "folder":
        (out / "mine").mkdir()
    else:
        (out / "mine").symlink_to(made.path, target_is_directory=True)

    with pytest.raises(StoreError, match="an export to which 'mine' was added"):
        write(made, out)

    assert (out / "mine").exists()


def test_what_a_link_leads_to_is_replaced(made: EmbeddingSet, tmp_path: Path) -> None:
    (tmp_path / "npy").symlink_to("real", target_is_directory=True)

    for choices in (FEW, Choices(precision="fp16")):
        write(made, tmp_path / "npy", choices)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.emb", "npy", "real"]
    assert (tmp_path / "npy").readlink() == Path("real")
    X = np.concatenate([np.load(each) for each in sorted(tmp_path.glob("real/emb/*.npy"))])
    np.testing.assert_array_equal(X, vectors(N).astype(np.float16))


def test_the_folder_that_a_command_runs_in_is_not_replaced(
    made: EmbeddingSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    with pytest.raises(StoreError, match="the folder that this runs in is in the way"):
        resolve("format", VECTORS, "npy")(Path(), of_set(made), FEW)

    assert list((tmp_path / "here").iterdir()) == []
