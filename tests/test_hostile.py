"""Files that nobody should have, through every kind of input: good, or one clear problem."""

from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from featx.data.sources import open_source
from featx.errors import InputError, ItemError
from featx.modality import MODALITIES
from featx.registry import resolve
from featx.types import Modality
from featx.zoo.manifest import ArrayOptions, AudioOptions, FileEntry, ImageOptions, Manifest
from hostile.make import ARRAY_SHAPE, EITHER, OK, RATE_HZ, Hostile, canary_file, long_line, make

# Pillow warns of damaged notes in a picture that it reads.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")

MOST_MEMORY_MIB = 400
"""What the corpus may add to the process; the bomb alone would add 1,600 when decoded."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile")


@pytest.fixture(scope="module")
def corpus(folder: Path) -> list[Hostile]:
    return make(folder)


def build(kind: str, folder: Path, image: ImageOptions) -> Modality:
    tokenizer = Tokenizer(WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    built: Modality = resolve("modality", MODALITIES, kind)(
        Manifest(
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
            max_length=16,
            files={"tokenizer": FileEntry(path="tokenizer.json", sha256="", size_bytes=0)},
            inputs={"token_ids": "ids"},
            image=image,
            audio=AudioOptions(sample_rate_hz=RATE_HZ, window_frames=20, window_step_frames=10),
            array=ArrayOptions(shape=ARRAY_SHAPE),
            folder=folder,
        )
    )
    return built


EXACT = ImageOptions(size=(32, 32), mean=(0, 0, 0), std=(1, 1, 1))
FAST = ImageOptions(size=(32, 32), mean=(0, 0, 0), std=(1, 1, 1), decode="fast")


def outcome_of(modality: Modality, path: Path) -> str:
    """Return ``"ok"`` or the problem; anything but an item error is a bug and comes through."""
    try:
        raw = modality.read(path)
        assert len(modality.preview(raw)) <= 200
        sample = modality.load(raw)
    except ItemError as error:
        return f"problem: {error}"
    (array,) = sample.inputs.values()
    assert np.isfinite(array).all()
    return OK


def is_expected(found: str, outcome: str) -> bool:
    return outcome == EITHER or (found == OK if outcome == OK else outcome in found)


def memory_mib(field: str) -> float:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) / 1024


@pytest.mark.parametrize(
    ("kind", "image"),
    [("array", EXACT), ("audio", EXACT), ("image", EXACT), ("image", FAST), ("text", EXACT)],
    ids=["array", "audio", "image", "image-fast", "text"],
)
def test_a_hostile_file_is_good_or_one_clear_problem_in_little_memory(
    kind: str, image: ImageOptions, folder: Path, corpus: list[Hostile], tmp_path: Path
) -> None:
    modality = build(kind, tmp_path, image)
    files = [each for each in corpus if each.modality == kind]
    held, peak = memory_mib("RssAnon"), memory_mib("VmHWM")

    found = {each: outcome_of(modality, folder / each.name) for each in files}

    assert {each: f for each, f in found.items() if not is_expected(f, each.outcome)} == {}
    assert len(files) > 20
    assert memory_mib("RssAnon") < held + MOST_MEMORY_MIB
    assert memory_mib("VmHWM") < peak + MOST_MEMORY_MIB


@pytest.mark.parametrize("kind", ["array", "audio", "image", "text"])
def test_hostile_files_loaded_together_end_as_alone(
    kind: str, folder: Path, corpus: list[Hostile], tmp_path: Path
) -> None:
    modality = build(kind, tmp_path, FAST)
    good = [each.name for each in corpus if each.modality == kind and each.outcome == OK]
    flipped = [each.name for each in corpus if each.modality == kind and each.outcome == EITHER]
    paths = [folder / name for name in (*good, *flipped)]
    raws = [modality.read(path) for path in paths]

    loaded = modality.load_many(raws)

    found = [f"problem: {each}" if isinstance(each, ItemError) else OK for each in loaded]
    assert found == [outcome_of(modality, path) for path in paths]


def test_nothing_is_ever_unpickled(folder: Path, corpus: list[Hostile], tmp_path: Path) -> None:
    for kind in MODALITIES:
        modality = build(kind, tmp_path, EXACT)
        for name in ("objects.npy", "pickle.npy"):
            assert outcome_of(modality, folder / name).startswith("problem: ")

    assert not canary_file(folder).exists()


def test_a_hostile_table_gives_a_problem_a_row_or_is_refused(
    folder: Path, corpus: list[Hostile]
) -> None:
    for each in (each for each in corpus if each.modality == "table"):
        try:
            found = [item.problem for item in open_source(folder / each.name, modality="text")]
        except InputError as error:
            found = [str(error)]

        assert [problem for problem in found if each.outcome not in problem] == []
        assert found


@pytest.mark.slow
def test_a_line_of_100_mb_is_one_clear_problem(tmp_path: Path) -> None:
    each = long_line(tmp_path)

    assert each.outcome in outcome_of(build("text", tmp_path, EXACT), tmp_path / each.name)
