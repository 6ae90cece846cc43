"""What every kind of input promises, checked over the table of kinds."""

import io
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from featx.errors import ItemError
from featx.modality import MODALITIES
from featx.modality.array import Array
from featx.registry import resolve
from featx.types import Content, Modality
from featx.zoo.manifest import AudioOptions, FileEntry, ImageOptions, Manifest


def manifest(kind: str, folder: Path) -> Manifest:
    return Manifest(
        schema=1,
        name="tiny",
        modality=kind,
        summary="",
        license="",
        source="",
        weights="tiny",
        dim=3,
        pooling="none",
        normalize=False,
        files={"tokenizer": FileEntry(path="tokenizer.json", sha256="", size_bytes=0)},
        inputs={"token_ids": "ids", "attention_mask": "mask"},
        image=ImageOptions(size=(8, 8), mean=(0, 0, 0), std=(1, 1, 1)),
        audio=AudioOptions(sample_rate_hz=8000, window_frames=20, window_step_frames=10),
        folder=folder,
    )


def contents(kind: str) -> list[Content]:
    """Return three items of different make; a kind without a line here is tested as arrays."""
    rng = np.random.default_rng(0)
    if kind == "text":
        return ["a", "b a b", "a a"]
    if kind == "image":
        return [rng.integers(0, 256, (9, 9 + i, 3), dtype=np.uint8) for i in range(3)]
    if kind == "audio":
        file = io.BytesIO()
        soundfile.write(file, rng.uniform(-1, 1, 9000), 8000, format="WAV")
        return [file.getvalue(), rng.uniform(-1, 1, 100), rng.uniform(-1, 1, 20_000)]
    return [rng.standard_normal(3) for _ in range(3)]


class Toy(Array):
    """A kind of input that a third party wrote."""


TABLE = {**MODALITIES, "toy": f"{__name__}:Toy"}


@pytest.fixture(params=sorted(TABLE))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def modality(kind: str, tmp_path: Path) -> Modality:
    built: Modality = resolve("modality", TABLE, kind)(manifest(kind, tmp_path))
    # Written only now: building a modality opens nothing.
    tokenizer = Tokenizer(WordLevel({"[UNK]": 0, "a": 1, "b": 2}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    return built


def test_it_has_a_revision_and_lower_case_suffixes(modality: Modality) -> None:
    assert modality.revision >= 1
    assert all(s.startswith(".") and s == s.lower() for s in modality.suffixes)


def test_bytes_and_a_file_read_as_the_content_itself(
    modality: Modality, kind: str, tmp_path: Path
) -> None:
    for content in contents(kind):
        raw = modality.read(content)
        (tmp_path / "item").write_bytes(raw)

        assert modality.read(raw) == raw
        assert modality.read(tmp_path / "item") == raw


def test_a_batch_holds_every_part_of_every_item_in_order(modality: Modality, kind: str) -> None:
    samples = [modality.load(modality.read(content)) for content in contents(kind)]

    batch = modality.collate(samples)

    for role in samples[0].inputs:
        at = 0
        for sample in samples:
            part = modality.collate([sample])[role]
            place = (slice(at, at + sample.parts), *(slice(0, n) for n in part.shape[1:]))
            np.testing.assert_array_equal(batch[role][place], part)
            at += sample.parts
    assert {len(rows) for rows in batch.values()} == {at}


def test_items_loaded_together_are_as_loaded_alone_and_errors_keep_their_place(
    modality: Modality, kind: str
) -> None:
    good = [modality.read(content) for content in contents(kind)]
    bad = b"\xff\x00\xfe random \x9f"

    found = modality.load_many([good[0], bad, *good[1:]])

    with pytest.raises(ItemError) as caught:
        modality.load(bad)
    assert repr(found.pop(1)) == repr(caught.value)
    for raw, loaded in zip(good, found, strict=True):
        assert not isinstance(loaded, ItemError)
        for role, array in modality.load(raw).inputs.items():
            np.testing.assert_array_equal(loaded.inputs[role], array)


def test_threads_get_what_one_thread_gets(modality: Modality, kind: str) -> None:
    raws = [modality.read(content) for content in contents(kind)] * 8
    gate = threading.Barrier(4)

    def load(raw: bytes) -> list[bytes]:
        return [array.tobytes() for array in modality.load(raw).inputs.values()]

    with ThreadPoolExecutor(4, initializer=gate.wait) as pool:
        found = list(pool.map(load, raws))

    assert found == [load(raw) for raw in raws]


def test_a_preview_is_short_and_on_one_line(modality: Modality, kind: str) -> None:
    for content in contents(kind):
        preview = modality.preview(modality.read(content))

        assert len(preview) <= 200
        assert "\n" not in preview


def test_unreadable_paths_are_item_errors_that_say_why(modality: Modality, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "huge").touch()
    os.truncate(tmp_path / "huge", (1 << 30) + 1)  # sparse: it takes no room
    os.mkfifo(tmp_path / "fifo")
    expected = {
        "empty": r"^is empty \(0 bytes\)$",
        "fifo": "is not a regular file",
        "huge": "is a file of 1073741825 bytes: .*; at most 1073741824 are read as one item",
        "missing": "does not exist",
        ".": "is a directory",
        "null\0": "cannot be read",
    }

    for name, message in expected.items():
        with pytest.raises(ItemError, match=message):
            modality.read(tmp_path / name)


def test_empty_and_random_bytes_are_item_errors(modality: Modality) -> None:
    with pytest.raises(ItemError, match=r"^is empty \(0 bytes\)$"):
        modality.read(b"")
    with pytest.raises(ItemError):
        modality.load(b"\xff\x00\xfe random \x9f")
