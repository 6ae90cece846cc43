"""Embedding sets of pictures and texts for tests of reports, made without a backbone."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from featx.data.rows import Row
from featx.data.store import EmbeddingSet
from featx.data.writer import SetWriter
from featx.fingerprint import digest
from featx.types import Vectors

DIM = 8
COLOURS = ((180, 40, 40), (40, 90, 180), (40, 140, 60), (120, 60, 150))


def model(modality: str) -> dict[str, Any]:
    return {
        "name": "tiny",
        "modality": modality,
        "dim": DIM,
        "normalize": False,
        "fingerprint": "f" * 64,
        "space": "5" * 64,
    }


def vectors(codes: ArrayLike, *, apart: float = 4.0, seed: int = 0) -> Vectors:
    """Return a row for each code, around a centre of its own."""
    rng = np.random.default_rng(seed)
    centres = apart * np.eye(DIM)[np.asarray(codes)]
    rows: Vectors = (rng.standard_normal(centres.shape) + centres).astype(np.float32)
    return rows


def picture(number: int, code: int, size: tuple[int, int] = (64, 48)) -> bytes:
    """Return a PNG file of one colour, with a note in it."""
    image = Image.new("RGB", size, COLOURS[code % len(COLOURS)])
    image.putpixel((number % size[0], number // size[0] % size[1]), (255, 255, 255))
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def written(
    path: Path,
    rows: Sequence[Row],
    X: Vectors,
    modality: str,
    source: Mapping[str, Any] | None = None,
) -> EmbeddingSet:
    """Write a set; its source is a folder that is not there unless one is given."""
    described = source or source_of("folder", path.parent / "gone", modality)
    with SetWriter(path, model=model(modality), command="featx embed", source=described) as writer:
        writer.append(list(rows), X)
        writer.seal()
    return EmbeddingSet.open(path)


def source_of(kind: str, path: Path, modality: str) -> dict[str, Any]:
    """Return what a manifest says of a source."""
    columns = dict.fromkeys(
        ("text_col", "image_col", "audio_col", "label_col", "id_col", "split_col")
    )
    return {
        "kind": kind,
        "paths": [str(path)],
        "modality": modality,
        "columns": columns,
        "labels_from_folders": True,
    }


def picture_set(
    folder: Path, names: Sequence[str] = ("cat", "dog"), *, each: int = 12, apart: float = 4.0
) -> Path:
    """Write ``photos/<class>/<number>.png`` and ``photos.emb``, and return the latter."""
    rows, codes = [], []
    for code, name in enumerate(names):
        (folder / "photos" / name).mkdir(parents=True)
        for number in range(each):
            path = folder / "photos" / name / f"{number}.png"
            path.write_bytes(picture(number, code))
            item_id = f"{name}/{path.name}"
            digested = digest(path.read_bytes()).hex()
            rows.append(Row(id=item_id, uri=str(path), label=name, digest=digested))
            codes.append(code)
    source = source_of("folder", folder / "photos", "image")
    written(folder / "photos.emb", rows, vectors(codes, apart=apart), "image", source)
    return folder / "photos.emb"


def text_rows(
    labels: Sequence[str | None], splits: Sequence[str | None] | None = None
) -> list[Row]:
    """Return a text a label, each different."""
    return [
        Row(
            id=f"t{at}",
            digest=digest(f"text {at}".encode()).hex(),
            label=label,
            split=splits[at] if splits else None,
            preview=f"text {at} of {label}",
        )
        for at, label in enumerate(labels)
    ]


def text_set(
    path: Path,
    *,
    each: int = 40,
    apart: float = 2.0,
    names: Sequence[str] = ("ham", "spam"),
    splits: bool = False,
) -> Path:
    """Write a set of texts of some classes, some of which are hard to tell."""
    codes = [at % len(names) for at in range(each * len(names))]
    held = ["test" if at % 4 == 3 or at % 4 == 2 else "train" for at in range(len(codes))]
    rows = text_rows([names[code] for code in codes], held if splits else None)
    written(path, rows, vectors(codes, apart=apart), "text")
    return path
