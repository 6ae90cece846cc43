"""The contents of a set's rows are read again from the source that the set records."""

from pathlib import Path

import numpy as np

from featx.data.origin import contents_of
from featx.data.rows import Row
from featx.data.sources import open_source
from featx.data.sources.options import DescribedSource
from featx.data.sources.part import part
from featx.data.store import EmbeddingSet
from featx.data.writer import Facts, SetWriter

MODEL = {
    "name": "identity",
    "modality": "text",
    "dim": 1,
    "normalize": False,
    "fingerprint": "f" * 64,
    "space": "s" * 64,
}


def set_of(source: DescribedSource, out: Path) -> EmbeddingSet:
    rows = [Row(id=item.id, digest=f"{i:064x}") for i, item in enumerate(source)]
    with SetWriter(out, model=MODEL, source=source.describe()) as writer:
        writer.append(rows, np.zeros((len(rows), 1), dtype=np.float32))
        writer.tell([Facts(row.id) for row in rows])
        return writer.finish()


def test_contents_come_in_the_order_of_the_rows(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("a\nb\nc\nd\n")
    source = part(open_source(tmp_path / "t.txt", modality="text"), limit=3)

    contents = contents_of(set_of(source, tmp_path / "t.emb"))

    assert contents is not None
    assert contents([2, 0, 2]) == ["c", "a", "c"]


def test_there_are_no_contents_once_an_item_or_the_source_is_gone(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("a\nb\nc\n")
    emb = set_of(open_source(tmp_path / "t.txt", modality="text"), tmp_path / "t.emb")

    (tmp_path / "t.txt").write_text("a\n")
    after_an_item = contents_of(emb)
    (tmp_path / "t.txt").unlink()

    assert (after_an_item, contents_of(emb)) == (None, None)
