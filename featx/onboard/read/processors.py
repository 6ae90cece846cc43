"""How images and sounds are prepared, read from the files of transformers' processors and of timm.

Settings that a class has where its file is silent count as stated.  What a file asks for and
featx cannot do is an error; a class that is not known here states nothing.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from featx.onboard.read.extractors import EXTRACTORS
from featx.onboard.read.facts import Fact, read_json_object
from featx.onboard.read.imageprocessors import IMAGE_PROCESSORS
from featx.onboard.read.timmconfig import timm_facts
from featx.onboard.read.told import Told

KINDS = {**IMAGE_PROCESSORS, **EXTRACTORS}
"""Class, without its ending → what reads its settings, and the values it has by default."""

ENDINGS = ("Fast", "Pil", "ImageProcessor", "FeatureExtractor")

UNREAD = "unread"
"""Key of the fact that there is a processor whose class is not known."""


def processor_facts(folder: Path) -> list[Fact]:
    """Return what the files of a folder, laid out as on the hub, say of images and sounds.

    Raises
    ------
    InputError
        If a file is damaged, or asks for what cannot be done.
    """
    facts: list[Fact] = []
    for where, table in _tables(folder):
        facts += _read(where, table)
    return facts or list(timm_facts(read_json_object(folder / "config.json")))


def _tables(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each processor's settings, and where they are written."""
    alone = read_json_object(folder / "preprocessor_config.json")
    if alone:
        yield "preprocessor_config.json", alone
        return
    together = read_json_object(folder / "processor_config.json")
    for key in ("image_processor", "feature_extractor"):
        if isinstance(part := together.get(key), dict):
            yield f"processor_config.json: {key}", part


def _read(where: str, table: dict[str, Any]) -> Iterator[Fact]:
    named = table.get("image_processor_type") or table.get("feature_extractor_type")
    kind = str(named or "")
    stem = kind
    for ending in ENDINGS:
        stem = stem.removesuffix(ending)
    if stem not in KINDS:
        yield Fact(UNREAD, kind, f"{where}: {kind or 'no class'}; known: {', '.join(KINDS)}")
        return
    reader, defaults = KINDS[stem]
    yield from reader(Told(where, table, kind, defaults))
