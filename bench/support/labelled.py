"""Labelled corpora of the heads' bench, cut from packages of three registries.

- texts: 20,000 of ten classes.  Film reviews, product reviews, editorials and tweets of Hutto and
  Gilbert 2014 (vaderSentiment), each split by the sign of its mean rating, those within half a
  point of neutral left out; and mails, ham or spam, of the SpamAssassin corpus.
- images: openclipart's ten largest categories that say what is seen.
"""

import email
import email.policy
import io
import json
import re
import subprocess
import tarfile
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path, PurePosixPath

import numpy as np

from bench.support.packages import CLIPART, MAILS, SNIPPETS
from bench.support.places import CORPORA

SEED = 20261123
TEXTS = 20_000
MOST_WORDS, MOST_LETTERS = 60, 400  # of a mail, so that all are embedded within minutes
LEAST_RATING = 0.5

ARCHIVE = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
RATED = {
    "film": "movieReviewSnippets_GroundTruth.txt",
    "product": "amazonReviewSnippets_GroundTruth.txt",
    "editorial": "nytEditorialSnippets_GroundTruth.txt",
    "tweet": "tweets_GroundTruth.txt",
}
CATEGORIES = (
    "animals",
    "computer",
    "food",
    "geography",
    "people",
    "recreation",
    "shapes",
    "signs_and_symbols",
    "tools",
    "transportation",
)

MOST_PIXELS = 2_000_000  # 24 images have more, up to 231 million: four fifths of all pixels

Labelled = tuple[str, str]
"""A text and its class."""


def drawn(items: list[Labelled], n: int, *, seed: int) -> list[Labelled]:
    """Return `n` items at random, or all that there are, in an order of the seed."""
    return [items[i] for i in np.random.default_rng(seed).permutation(len(items))[:n]]


def texts() -> Path:
    """Return a JSONL file of `TEXTS` rows ``{"id", "text", "label"}``, no text twice."""
    path = CORPORA / f"labelled-{TEXTS}.jsonl"
    if not path.is_file():
        found = list(dict([*snippets(), *mails()]).items())
        chosen = np.random.default_rng(SEED).permutation(len(found))[:TEXTS]
        rows = [
            {"id": f"l{number:05}", "text": found[i][0], "label": found[i][1]}
            for number, i in enumerate(chosen)
        ]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def snippets() -> Iterator[Labelled]:
    """Yield the rated texts; a line is an id, the mean rating of -4 to 4, and the text."""
    with tarfile.open(SNIPPETS.fetch()) as package:
        inner = io.BytesIO(content(package, ARCHIVE))
    with tarfile.open(fileobj=inner) as archive:
        for name, file in RATED.items():
            whole = content(archive, f"hutto_ICWSM_2014/{file}").decode(errors="replace")
            for line in whole.splitlines():
                _, rating, text = line.split("\t", 2)
                if abs(float(rating)) >= LEAST_RATING:
                    yield " ".join(text.split()), f"{name}-{sign(float(rating))}"


def sign(rating: float) -> str:
    return "positive" if rating > 0 else "negative"


def mails() -> Iterator[Labelled]:
    """Yield the subject and the first words of each mail; its folder is its class."""
    with tarfile.open(MAILS.fetch()) as archive:
        for member in archive:
            path = PurePosixPath(member.name)
            if path.match("data/*/*.txt"):
                text = mail_text(content(archive, member.name))
                if text:
                    yield text, "spam" if path.parent.name.startswith("spam") else "ham"


def mail_text(source: bytes) -> str:
    mail = email.message_from_bytes(source, policy=email.policy.compat32, _class=EmailMessage)
    parts = [part for part in mail.walk() if part.get_content_maintype() == "text"]
    payload = parts[0].get_payload(decode=True) if parts else b""
    body = re.sub(r"<[^>]*>", " ", bytes(payload or b"").decode("latin-1"))
    return " ".join(f"{mail['Subject'] or ''} {body}".split()[:MOST_WORDS])[:MOST_LETTERS]


def content(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    assert file is not None
    return file.read()


def images() -> Path:
    """Return a folder of a folder a category; links, which give an image a second, are left."""
    folder = CORPORA / "clipart"
    if not folder.is_dir():
        half_made = folder.with_suffix(".part")
        command = ["dpkg-deb", "--fsys-tarfile", str(CLIPART.fetch())]
        with (
            subprocess.Popen(command, stdout=subprocess.PIPE) as unpacking,
            tarfile.open(fileobj=unpacking.stdout, mode="r|") as archive,
        ):
            for member in archive:
                write_image(archive, member, half_made)
        half_made.rename(folder)
    return folder


def write_image(archive: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    parts = PurePosixPath(member.name).parts
    if "png" not in parts or not (member.isfile() and member.name.endswith(".png")):
        return
    category, *inner = parts[parts.index("png") + 1 :]
    if category in CATEGORIES:
        file = archive.extractfile(member)
        assert file is not None
        source, path = file.read(), folder / category / "-".join(inner)
        if pixels(source) <= MOST_PIXELS:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(source)


def pixels(png: bytes) -> int:
    """Return width times height, which a PNG file states in bytes 16 to 24."""
    return int.from_bytes(png[16:20], "big") * int.from_bytes(png[20:24], "big")
