"""Make the corpora of the benches under ``.bench/corpora/``: ``python -m bench.corpora``.

Each is a function of its size, a seed and the packages it is cut from:

- texts: a fifth are mails of our samples, the others sentences of docstrings (the standard
  library, numpy, scipy, scikit-learn), cut to lengths as reviews have them;
- images: 1600 x 1200 JPEG made of four photographs of the scikit-image package: a random crop,
  perhaps mirrored, enlarged, with a camera's noise, saved at quality 85 to 95;
- files: folders of small text files, all different.
"""

import argparse
import ast
import csv
import hashlib
import importlib.util
import io
import json
import os
import re
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from bench.support.places import CORPORA, HOME, ROOT

SEED = 20261123
TEXTS, QUICK_TEXTS = 2000, 400
IMAGES, QUICK_IMAGES = 1500, 150
FILES, QUICK_FILES = 100_000, 5_000
FOLDERS = 100

MAIL_SHARE = 0.2
SNIPPET_WORDS = (4, 44)  # about 5 to 60 tokens
MEDIAN_WORDS, SPREAD = 18, 0.65
DOCUMENTED = ("numpy", "scipy", "sklearn")

PHOTOGRAPHS = "scikit-image==0.26.0"
NAMES = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")
SIZE = (1600, 1200)
CROP = (0.55, 1.0)
NOISE = 3.0  # standard deviation, of 255
QUALITY = (85, 95)

LONG_AGO_S = 1_700_000_000  # files that were just written are not trusted by their time stamp


def texts(count: int) -> Path:
    """Return a JSONL file of `count` texts: ``{"id", "text"}``, mails and snippets mixed."""
    path = CORPORA / f"texts-{count}.jsonl"
    if not path.is_file():
        rng = np.random.default_rng(SEED)
        mails = read_mails()
        chosen = rng.choice(len(mails), round(count * MAIL_SHARE), replace=False)
        made = [mails[i] for i in chosen]
        made += snippets(count - len(made), rng)
        order = rng.permutation(count)
        rows = [{"id": f"t{n:05}", "text": made[i]} for n, i in enumerate(order)]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def read_mails() -> list[str]:
    with (ROOT / "featx/samples/mails.csv").open(encoding="utf-8", newline="") as file:
        return [row["text"] for row in csv.DictReader(file)]


def snippets(count: int, rng: np.random.Generator) -> list[str]:
    """Return different runs of whole sentences, each cut at a length drawn for it."""
    sentences = documented_sentences()
    rng.shuffle(sentences)
    found: dict[str, None] = {}
    start = 0
    while len(found) < count:
        words: list[str] = []
        wanted = int(np.clip(rng.lognormal(np.log(MEDIAN_WORDS), SPREAD), *SNIPPET_WORDS))
        while len(words) < wanted:
            words += sentences[start % len(sentences)].split()
            start += 1
        found[" ".join(words[:wanted])] = None
    return list(found)


@cache
def documented_sentences() -> list[str]:
    """Return the sentences of all docstrings, each once, in a fixed order."""
    found: dict[str, None] = {}
    for path in documented_files():
        for docstring in docstrings(path):
            for sentence in re.split(r"(?<=[.!?])\s+", " ".join(docstring.split())):
                if re.fullmatch(r"[A-Z][\w ,;:'()-]{15,300}[.!?]", sentence):
                    found[sentence] = None
    return list(found)


def documented_files() -> Iterator[Path]:
    yield from sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    for name in DOCUMENTED:
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        yield from sorted(p for p in Path(spec.origin).parent.rglob("*.py") if "test" not in str(p))


def docstrings(path: Path) -> Iterator[str]:
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            yield ast.get_docstring(node) or ""


def images(count: int) -> Path:
    """Return a folder of `count` JPEG files; image i is the same in every folder."""
    folder = CORPORA / f"images-{count}"
    names = [folder / f"{number:05}.jpg" for number in range(count)]
    if not names[-1].is_file():
        folder.mkdir(parents=True, exist_ok=True)
        photographs()
        with ProcessPoolExecutor() as pool:
            for _ in pool.map(write_image, names, chunksize=32):
                pass
    return folder


def write_image(path: Path) -> None:
    rng = np.random.default_rng([SEED, int(path.stem)])
    photo = photographs()[int(rng.integers(len(NAMES)))]
    share = rng.uniform(*CROP)
    width = share * min(photo.width, photo.height * SIZE[0] / SIZE[1])
    height = width * SIZE[1] / SIZE[0]
    left, top = rng.uniform(0, photo.width - width), rng.uniform(0, photo.height - height)
    image = photo.resize(
        SIZE, Image.Resampling.BICUBIC, box=(left, top, left + width, top + height)
    )
    if rng.integers(2):
        image = ImageOps.mirror(image)
    shift = rng.integers(0, noise().shape[:2])
    pixels = np.asarray(image) + np.roll(noise(), tuple(shift), axis=(0, 1))
    quality = int(rng.integers(QUALITY[0], QUALITY[1] + 1))
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(path, quality=quality)


@cache
def noise() -> np.ndarray:
    field = np.random.default_rng(SEED).normal(0, NOISE, (SIZE[1], SIZE[0], 1))
    return np.rint(field).astype(np.int16)


@cache
def photographs() -> list[Image.Image]:
    """Return the photographs, out of the package's wheel; pip fetches it once."""
    folder = HOME / "wheels"
    if not list(folder.glob("scikit_image-*.whl")):
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--only-binary=:all:", "--dest", str(folder), PHOTOGRAPHS]
        subprocess.run(command, check=True)
    with zipfile.ZipFile(next(folder.glob("scikit_image-*.whl"))) as wheel:
        return [
            Image.open(io.BytesIO(wheel.read(f"skimage/data/{name}"))).convert("RGB")
            for name in NAMES
        ]


def files(count: int) -> Path:
    """Return a folder of `FOLDERS` folders with `count` different texts of 100 to 300 bytes."""
    folder = CORPORA / f"files-{count}"
    last = folder / f"{FOLDERS - 1:02}" / f"{count - 1:06}.txt"
    if not last.is_file():
        sentences = [sentence.encode() for sentence in documented_sentences()]
        pairs = [b" ".join(pair) for pair in pairwise(sentences)]
        bodies = [body for body in pairs if 90 <= len(body) <= 290]
        for number in range(count):
            path = folder / f"{number * FOLDERS // count:02}" / f"{number:06}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"%06d " % number + bodies[number % len(bodies)])
            os.utime(path, (LONG_AGO_S, LONG_AGO_S))
    return folder


def describe(path: Path) -> str:
    """Return a short name of a corpus file's content, for the notes."""
    return f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()[:8]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="the small ones only")
    is_quick = parser.parse_args().quick
    print(texts(QUICK_TEXTS if is_quick else TEXTS))
    print(images(QUICK_IMAGES if is_quick else IMAGES))
    print(files(QUICK_FILES if is_quick else FILES))


if __name__ == "__main__":
    main()
