"""Adding a backbone: fetched, read, checked, and only then written into the zoo."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from featx.data.files import explained
from featx.errors import InputError
from featx.onboard.fetch.files import Files, readable
from featx.onboard.fetch.origin import Origin
from featx.onboard.gathering import Gathered, gather
from featx.onboard.placing import name_of, place, staging
from featx.onboard.read.choices import Choices
from featx.onboard.read.draft import draft
from featx.onboard.read.facts import Fact
from featx.zoo import catalog
from featx.zoo.manifest import Manifest

USUAL_STEMS = {"model", "onnx"}
"""Names of graphs that say nothing of the model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What was found of a backbone whose graph was run.

    Attributes
    ----------
    measured : dict
        For `Manifest.measured`.
    notes : tuple of str
        Lines for people.
    golden : Path or None
        Items and their vectors, as `featx.backbone.golden` reads them.
    """

    measured: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    golden: Path | None = None


Checks = Callable[[Manifest], Checked]
"""Runs a backbone whose files lie in a staging folder; raises if it may not be added."""


@dataclass(frozen=True, slots=True)
class Added:
    """A backbone in the zoo, and where each of its values comes from."""

    manifest: Manifest
    facts: tuple[Fact, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Adding:
    """What is added, and how.

    Attributes
    ----------
    files : Files
        At its origin.
    tokenizer : Files or None
        Of which one is the tokenizer, if that comes from elsewhere.
    choices : Choices
    checks : callable
    zoo : Path
        What is written to.
    """

    files: Files
    tokenizer: Files | None
    choices: Choices
    checks: Checks
    zoo: Path

    def gather(self, files: Files, folder: Path, name: str) -> Gathered:
        """Copy what belongs to a backbone into a folder."""
        return gather(files, folder, name=name, tokenizer=self.tokenizer)

    def close(self) -> None:
        """Drop downloads, which nothing needs any more."""
        for files in (self.files, self.tokenizer):
            if files is not None:
                files.close()


def add_files(adding: Adding, name: str) -> Added:
    """Add the backbone that opened files are of."""
    with staging(adding.zoo) as stage:
        gathered = adding.gather(adding.files, stage, name)
        ready = prepare(gathered, adding.choices, name=name, checks=adding.checks)
        (placed,) = place(ready.manifest, zoo=adding.zoo)
    adding.close()
    return replace(ready, manifest=placed)


def prepare(gathered: Gathered, choices: Choices, *, name: str, checks: Checks) -> Added:
    """Read and check gathered files; the manifest still lies in their staging folder.

    Raises
    ------
    InputError
        If something is not stated, contradicts itself or cannot be right.
    """
    made = draft(gathered, choices, name=name)
    gathered = _needed(gathered, made.manifest)
    checked = checks(made.manifest)
    _keep_golden(checked.golden, catalog.golden_file(made.manifest))
    manifest = replace(made.manifest, measured={**made.manifest.measured, **checked.measured})
    return Added(manifest, (*_of_files(gathered), *made.facts), (*made.notes, *checked.notes))


def name_for(origin: Origin) -> str:
    """Return what a backbone is called whose user gave it no name."""
    if origin.kind in {"hub", "package"}:
        return name_of(origin.place)
    path = PurePosixPath(Path(origin.place).expanduser().resolve().as_posix())
    if origin.kind in {"url", "object"}:
        path = PurePosixPath(origin.place)
    if path.suffix == ".onnx":
        parts = [path.stem, *(part.name for part in path.parents)]
        return name_of(next((part for part in parts if part not in USUAL_STEMS), path.stem))
    return name_of(path.name)


def _needed(gathered: Gathered, manifest: Manifest) -> Gathered:
    """Drop the tokenizer of a pair of which the other half is added."""
    for role in gathered.entries.keys() - manifest.files.keys():
        gathered.path(role).unlink()
    return replace(gathered, entries=manifest.files)


def _keep_golden(found: Path | None, target: Path) -> None:
    if found is None or found == target:
        return
    if not found.is_file():
        message = f"{found}: the checks made no golden vectors there"
        raise InputError(message)
    with explained(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        found.replace(target)


def _of_files(gathered: Gathered) -> list[Fact]:
    found = [
        Fact(f"files.{role}", readable(entry.size_bytes), gathered.sources[role])
        for role, entry in gathered.entries.items()
    ]
    if gathered.others:
        source = f"{found[0].source} (also there: {', '.join(gathered.others)})"
        found[0] = Fact(found[0].key, found[0].value, source)
    return found
