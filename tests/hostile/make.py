"""Make a folder of hostile files, always the same, each with its expected outcome.

Run as ``python tests/hostile/make.py FOLDER`` to look at them.
"""

import io
import os
import pickle
import struct
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile

OK = "ok"
EITHER = "either"

ARRAY_SHAPE = (2, 3)
"""Shape of the good arrays."""

RATE_HZ = 16_000
FLIPPED_BITS = (1, 4, 16, 64)
ORIENTATION, MAKER_NOTE = 0x0112, 0x927C

Files = Iterator[tuple[str, bytes, str]]
"""Name, bytes and expected outcome."""


@dataclass(frozen=True, slots=True)
class Hostile:
    """One file of the corpus.

    Attributes
    ----------
    name : str
        Relative to the corpus.
    modality : str
        ``"image"``, ``"audio"``, ``"array"`` or ``"text"`` for one item a file, ``"table"`` for
        a file of many texts.
    outcome : str
        ``"ok"``; ``"either"`` for a good item or an error of its own; else what the problem
        must say.
    """

    name: str
    modality: str
    outcome: str


def make(folder: Path) -> list[Hostile]:
    """Write the corpus into `folder` (made if missing) and return its table."""
    folder.mkdir(parents=True, exist_ok=True)
    makers = {
        "image": (*_pictures(), *_cut_pictures()),
        "audio": (*_sounds(), *_cut_sounds()),
        "array": _arrays(folder),
        "text": _texts(),
        "table": _tables(),
    }
    corpus = []
    for modality, files in makers.items():
        for name, raw, outcome in files:
            (folder / name).write_bytes(raw)
            corpus.append(Hostile(name, modality, outcome))
    return [*corpus, *_no_files(folder)]


def long_line(folder: Path) -> Hostile:
    """Write a text of 100 MB on one line."""
    (folder / "long.txt").write_bytes(b"word " * 20_000_000)
    return Hostile("long.txt", "text", "is 100000000 bytes of text; at most")


def picture(kind: str, **extra: Any) -> bytes:  # noqa: ANN401
    """Return a small picture with structure at every scale."""
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8).repeat(8, axis=0).repeat(8, axis=1)
    file = io.BytesIO()
    PIL.Image.fromarray(rows ^ rng.integers(0, 16, rows.shape, dtype=np.uint8)).save(
        file, kind, **extra
    )
    return file.getvalue()


def sound(kind: str, subtype: str = "PCM_16", rate_hz: int = RATE_HZ) -> bytes:
    """Return two seconds of noise."""
    rng = np.random.default_rng(0)
    file = io.BytesIO()
    samples = 0.1 * rng.standard_normal(2 * rate_hz)
    soundfile.write(file, samples, rate_hz, format=kind, subtype=subtype)
    return file.getvalue()


def npy(array: np.ndarray[Any, Any]) -> bytes:
    """Return an array as NumPy itself would save it."""
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def cut(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the first tenth, the first two tenths ... of a file."""
    for tenth in range(1, 10):
        yield tenth, raw[: len(raw) * tenth // 10]


def flipped(raw: bytes, name: str) -> Files:
    """Yield damaged copies; half of the damage is in the first 200 bytes."""
    stem, suffix = name.split(".")
    for seed, count in enumerate(FLIPPED_BITS * 3):
        rng = np.random.default_rng(seed)
        damaged = np.frombuffer(raw, dtype=np.uint8).copy()
        end = 200 if seed % 2 else len(raw)
        places = rng.integers(0, min(end, len(raw)), count)
        damaged[places] ^= np.left_shift(1, rng.integers(0, 8, count)).astype(np.uint8)
        yield f"{stem}-flipped-{seed}.{suffix}", damaged.tobytes(), EITHER


def _cut_pictures() -> Files:
    kinds = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP", "gif": "GIF", "tif": "TIFF"}
    kinds |= {"bmp": "BMP", "avif": "AVIF"}
    for suffix, kind in kinds.items():
        raw = picture(kind)
        yield f"whole.{suffix}", raw, OK
        yield f"nothing.{suffix}", b"", "is empty (0 bytes)"
        for tenth, part in cut(raw):
            yield f"cut-{tenth}.{suffix}", part, "damaged"
        yield from flipped(raw, f"picture.{suffix}")


def _pictures() -> Files:
    yield "bomb.png", bomb(20_000, 20_000), "has 20000 x 20000 pixels; at most"
    yield "strip.png", bomb(60_000, 1), OK
    yield "tower.png", bomb(1, 60_000), OK
    yield "drawing.png", b'<svg xmlns="http://www.w3.org/2000/svg"/>', "looks like HTML, SVG"
    yield "page.jpg", b"<!doctype html><title>404</title>", "looks like HTML, SVG or XML"
    yield "paper.jpg", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "looks like a PDF"
    exif = PIL.Image.Exif()
    exif[ORIENTATION], exif[MAKER_NOTE] = 6, bytes(60_000)
    raw = picture("JPEG", exif=exif)
    yield "notes.jpg", raw, OK
    start = raw.index(b"Exif\0\0") + 6
    # Of the TIFF header and its table: where the table lies, its entries, the first one's type.
    for name, place, n in (("far", 4, 4), ("entries", 8, 2), ("type", 12, 2)):
        broken = raw[: start + place] + b"\xff" * n
        yield f"notes-{name}.jpg", broken + raw[len(broken) :], OK
    yield "orientation.jpg", picture("JPEG", exif=_orientation(99)), OK


def _orientation(value: int) -> PIL.Image.Exif:
    exif = PIL.Image.Exif()
    exif[ORIENTATION] = value
    return exif


def bomb(width: int, height: int) -> bytes:
    """Return a black PNG of one bit a pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes((1 + (width + 7) // 8) * height))
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def _cut_sounds() -> Files:
    kinds = {"wav": ("WAV", "PCM_16"), "flac": ("FLAC", "PCM_16"), "ogg": ("OGG", "VORBIS")}
    kinds |= {"opus": ("OGG", "OPUS"), "mp3": ("MP3", "MPEG_LAYER_III"), "aiff": ("AIFF", "PCM_16")}
    for suffix, (kind, subtype) in kinds.items():
        raw = sound(kind, subtype)
        yield f"whole.{suffix}", raw, OK
        yield f"nothing.{suffix}", b"", "is empty (0 bytes)"
        problem = "is not a sound that can be read" if suffix == "flac" else "is cut off"
        for tenth, part in cut(raw):
            yield f"cut-{tenth}.{suffix}", part, problem
        yield from flipped(raw, f"sound.{suffix}")


def _sounds() -> Files:
    raw = sound("WAV")

    def lying(offset: int, form: str, value: int) -> bytes:
        lie = bytearray(raw)
        struct.pack_into(form, lie, offset, value)
        return bytes(lie)

    unreadable = "is not a sound that can be read"
    yield "size-too-large.wav", lying(4, "<I", 1_000_000_000), "is cut off"
    yield "size-unknown.wav", lying(4, "<I", 0xFFFFFFFF), OK
    yield "size-too-small.wav", lying(4, "<I", 36), OK
    yield "samples-too-many.wav", lying(40, "<I", 0x7FFFFF00), OK
    yield "samples-none.wav", lying(40, "<I", 0), "has no samples"
    yield "rate-0.wav", lying(24, "<I", 0), unreadable
    yield "rate-1.wav", lying(24, "<I", 1), "lasts more than 3600 s"
    yield "rate-huge.wav", lying(24, "<I", 0x7FFFFFFF), "has no samples"
    yield "rate-negative.wav", lying(24, "<I", 0xFFFFFFFF), unreadable
    yield "channels-0.wav", lying(22, "<H", 0), unreadable
    yield "channels-1024.wav", lying(22, "<H", 1024), OK
    yield "channels-65535.wav", lying(22, "<H", 65535), unreadable
    yield "bits-0.wav", lying(34, "<H", 0), unreadable
    for name, value in {"nan": np.nan, "infinite": -np.inf}.items():
        file = io.BytesIO()
        soundfile.write(file, [0.1, value, 0.1], RATE_HZ, format="WAV", subtype="FLOAT")
        yield f"{name}.wav", file.getvalue(), "not finite, the first at 1"
    yield "page.wav", b"<!doctype html><title>404</title>", unreadable
    yield "picture.mp3", picture("PNG"), unreadable


class Canary:
    """Something that leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str, str]]:
        """Tell pickle to call ``open(path, "w")``."""
        return open, (str(self.path), "w")


def canary_file(folder: Path) -> Path:
    """Return the file that exists if something in `folder` was unpickled."""
    return folder / "canary-was-unpickled"


def _arrays(folder: Path) -> Files:
    good = np.arange(6.0).reshape(ARRAY_SHAPE)
    raw = npy(good)
    yield "whole.npy", raw, OK
    yield "nothing.npy", b"", "is empty (0 bytes)"
    for tenth, part in cut(raw):
        yield f"cut-{tenth}.npy", part, "npy"
    yield from flipped(raw, "array.npy")
    canary = pickle.dumps(Canary(canary_file(folder)))
    yield "objects.npy", npy_header("|O", (1,)) + canary, "never unpickled"
    yield "pickle.npy", canary, "is not a .npy array"
    yield "fortran.npy", npy(np.asfortranarray(good)), OK
    yield "big-endian.npy", npy(good.astype(">f8")), OK
    yield "record.npy", npy(np.zeros(3, dtype=[("a", "f4"), ("b", "i8")])), "expected numbers"
    yield "texts.npy", npy(np.array(["a", "b"])), "expected numbers"
    yield "nan.npy", npy(np.where(good == 4, np.nan, good)), "the first at [1, 1]"
    shapes = {"huge": (2, 3 * 10**12), "negative": (-2, -3), "other": (6,), "scalar": ()}
    outcomes = {"other": "has shape (6,)"}
    for name, shape in shapes.items():
        yield (
            f"shape-{name}.npy",
            npy_header("<f8", shape) + good.tobytes(),
            outcomes.get(name, "is damaged"),
        )


def npy_header(descr: str, shape: tuple[int, ...]) -> bytes:
    """Return a header, whatever it promises."""
    file = io.BytesIO()
    table = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, table)
    return file.getvalue()


def _texts() -> Files:
    raw = "füße ".encode() * 19
    yield "whole.txt", raw, OK
    yield "nothing.txt", b"", "is empty (0 bytes)"
    for tenth, part in cut(raw):
        starts_a_letter = part[-1] >= 0xC0
        outcome = f"is not UTF-8 at byte {len(part) - 1}" if starts_a_letter else OK
        yield f"cut-{tenth}.txt", part, outcome
    yield from flipped(raw, "text.txt")
    yield "utf-16.txt", "hello".encode("utf-16"), "is not UTF-8 at byte 0"
    yield "latin-1.txt", "caf\xe9".encode("latin-1"), "is not UTF-8 at byte 3"
    yield "surrogate.txt", b"half \xed\xa0\x80", "is not UTF-8 at byte 5"
    yield "overlong.txt", b"\xc0\xaf", "is not UTF-8 at byte 0"
    yield "nul.txt", b"a\0b\0\0c", OK
    yield "only-nul.txt", b"\0" * 100, EITHER
    yield "blank.txt", "\ufeff \r\n\t\u3000\u2003".encode(), "is empty: it holds only white space"
    yield "unbroken.txt", b"a" * 1_000_000, OK
    yield "accents.txt", ("a" + "\u0301" * 100_000).encode(), OK
    yield "directions.txt", "\u202eabc\u2066\u200d\ufffe\U000e0041".encode(), OK
    yield "picture.txt", picture("PNG"), "is not UTF-8 at byte 0"


def _tables() -> Files:
    columns: dict[str, tuple[list[Any], str]] = {
        "numbers": ([1, 2], "'text' is a int; it must be a string"),
        "lists": ([["a"], ["b"]], "'text' is a list; it must be a string"),
        "bytes": ([b"\xff", b"\0"], "'text' is a bytes; it must be a string"),
        "missing": ([None, None], "'text' is missing"),
    }
    for name, (values, outcome) in columns.items():
        file = io.BytesIO()
        pq.write_table(pa.table({"text": values}), file)
        yield f"{name}.parquet", file.getvalue(), outcome
    for tenth, part in cut(file.getvalue()):
        yield f"cut-{tenth}.parquet", part, "not a parquet file"


def _no_files(folder: Path) -> Iterator[Hostile]:
    """Make what looks like a picture and is no file."""
    (folder / "folder.jpg").mkdir(exist_ok=True)
    for name in ("fifo.jpg", "socket.jpg", "loop-1.jpg", "loop-2.jpg", "dangling.jpg"):
        (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / "fifo.jpg")
    os.mknod(folder / "socket.jpg", 0o140600)
    (folder / "loop-1.jpg").symlink_to("loop-2.jpg")
    (folder / "loop-2.jpg").symlink_to("loop-1.jpg")
    (folder / "dangling.jpg").symlink_to("missing.jpg")
    yield Hostile("folder.jpg", "image", "is a directory")
    yield Hostile("fifo.jpg", "image", "is not a regular file")
    yield Hostile("socket.jpg", "image", "is not a regular file")
    yield Hostile("loop-1.jpg", "image", "cannot be read")
    yield Hostile("loop-2.jpg", "image", "cannot be read")
    yield Hostile("dangling.jpg", "image", "does not exist")


if __name__ == "__main__":
    for each in make(Path(sys.argv[1])):
        sys.stdout.write(f"{each.modality:8}{each.name:32}{each.outcome}\n")
