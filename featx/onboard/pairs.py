"""Pairs of backbones that share a space, such as CLIP's: both towers of a folder, or one by one."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal, cast

from featx.errors import InputError
from featx.fingerprint import hash_facts
from featx.onboard.adding import Added, Adding, Checks, add_files, name_for, prepare
from featx.onboard.fetch.files import MOST_BYTES, Files, Say, open_files
from featx.onboard.fetch.origin import Origin, parse_origin
from featx.onboard.gathering import Gathered
from featx.onboard.placing import place, require_free, require_name, staging
from featx.onboard.read.choices import Choices
from featx.onboard.read.facts import Fact
from featx.zoo import catalog
from featx.zoo.manifest import Manifest, Tower

Role = Literal["image", "text", "audio"]

GRAPHS: dict[str, Role] = {
    "vision_model.onnx": "image",
    "audio_model.onnx": "audio",
    "text_model.onnx": "text",
}
"""How exporters call the towers of a pair → their modality."""

OWN_INPUTS: dict[str, Role] = {
    "image": "image",
    "windows": "audio",
    "sample_mask": "audio",
    "token_ids": "text",
    "attention_mask": "text",
    "token_type_ids": "text",
}
"""Role of an input → the tower that may have it."""

SPACE = ("weights", "pooling", "normalize", "dim")
"""What backbones of one space have in common."""


@dataclass(frozen=True, slots=True)
class OneGraph:
    """The files at an origin, of which one graph is meant.

    Attributes
    ----------
    files : Files
    chosen : str
        Name of the graph.
    weights : str
        Identity of the weights of the pair.
    """

    files: Files
    chosen: str
    weights: str

    @property
    def is_complete(self) -> bool:
        """Whether the files list all there is."""
        return self.files.is_complete

    def weights_of(self, graph: str) -> str:
        """Return the identity of the pair's weights."""
        return self.weights

    @property
    def origin(self) -> Origin:
        """Where the files are."""
        return self.files.origin

    @property
    def sizes(self) -> Mapping[str, int]:
        """Name → bytes."""
        return self.files.sizes

    def take(self, name: str, place: Path) -> None:
        """Copy one file."""
        self.files.take(name, place)

    def url(self, name: str, sha256: str) -> str:
        """Return where a manifest says that a file is fetched from."""
        return self.files.url(name, sha256)

    def close(self) -> None:
        """Drop downloads that were kept."""
        self.files.close()


def add_models(
    what: str,
    choices: Choices,
    *,
    checks: Checks,
    zoo: Path | None = None,
    limit_bytes: int = MOST_BYTES,
    say: Say = lambda _: None,
) -> tuple[Added, ...]:
    """Add a backbone, or both towers of a pair: all or none of them.

    Parameters
    ----------
    what : str
        Where it comes from, as `parse_origin` reads it.  A folder or repository with a graph
        of `GRAPHS` for texts and one for images or sounds is a pair, unless it names one of its
        graphs.
    choices : Choices
        What files do not state; of a pair said of both, as far as they apply to texts, images or
        sounds.
    checks : callable
        Run on each before anything is written.
    zoo : Path, optional
        Folder to write to; by default the user's own.
    limit_bytes : int
        Largest file that is fetched.
    say : callable, optional
        Told of each download.

    Returns
    -------
    tuple of Added
        One, or of a pair the tower of images or sounds and then that of texts.

    Raises
    ------
    InputError
        If a name is taken, a file is missing or not what it should be, something that no file
        states was not said, or what shall be a pair shares no space.
    ServerError
        If something cannot be fetched; run again, it continues.
    StoreError
        If the zoo cannot be written.
    """
    origin = parse_origin(what)
    name = choices.name or name_for(origin)
    require_free(name)
    files = open_files(origin, limit_bytes=limit_bytes, say=say)
    tokenizer = None
    if choices.tokenizer:
        tokenizer = open_files(parse_origin(choices.tokenizer), limit_bytes=limit_bytes, say=say)
    adding = Adding(files, tokenizer, choices, checks, zoo or catalog.user_zoo())
    if choices.partner:
        return (_add_half(adding, name),)
    if not choices.is_alone and (towers := _towers(files)):
        return _add_pair(adding, name, towers)
    if choices.logit_scale is not None:
        message = f"{origin.whole}: is no pair, which --logit-scale is of; say --partner NAME too"
        raise InputError(message)
    return (add_files(adding, name),)


def _tower(adding: Adding, role: str, partner: str) -> Tower:
    scale = adding.choices.logit_scale
    return Tower(role=cast("Role", role), partner=partner, logit_scale=scale)


def _towers(files: Files) -> dict[Role, str]:
    """Return role → graph of a pair: of texts and of one other kind, in one folder."""
    folders: dict[PurePosixPath, dict[Role, str]] = {}
    for name in sorted(files.sizes):
        path = PurePosixPath(name)
        if role := GRAPHS.get(path.name):
            folders.setdefault(path.parent, {})[role] = name
    pairs = [each for each in folders.values() if "text" in each and len(each) == 2]
    if len(pairs) != 1 or files.chosen:
        return {}
    return {role: pairs[0][role] for role in GRAPHS.values() if role in pairs[0]}


def _add_pair(adding: Adding, name: str, towers: Mapping[Role, str]) -> tuple[Added, ...]:
    files, choices, zoo = adding.files, adding.choices, adding.zoo
    if choices.modality:
        message = f"{files.origin.whole}: is a pair; name one of its graphs, or no --modality"
        raise InputError(message)
    names = {role: f"{name}-{role}" for role in towers}
    for each in names.values():
        require_free(each)
    with staging(zoo) as stage:
        found = {
            role: adding.gather(OneGraph(files, graph, ""), stage / role, names[role])
            for role, graph in towers.items()
        }
        weights = files.weights_of(next(iter(towers.values()))) or _hash_of(found)
        ready = []
        for role, other in zip(towers, reversed(names.values()), strict=True):
            one = OneGraph(files, towers[role], weights)
            gathered = replace(found[role], files=one)
            made = prepare(
                gathered, _said_of(choices, role, towers), name=names[role], checks=adding.checks
            )
            if made.manifest.modality != role:
                message = f"{files.origin.whole}: {towers[role]} takes {made.manifest.modality}"
                message = f"{message}; name the graph to take"
                raise InputError(message)
            ready.append(_with_tower(made, _tower(adding, role, other), "lies beside it"))
        require_one_space(ready[0].manifest, ready[1].manifest)
        placed = place(*(each.manifest for each in ready), zoo=zoo)
    adding.close()
    return tuple(replace(each, manifest=at) for each, at in zip(ready, placed, strict=True))


def _add_half(adding: Adding, name: str) -> Added:
    """Add the other half of a backbone of the zoo, whose manifest is made to name it."""
    require_name(adding.choices.partner)
    path = adding.zoo / f"{adding.choices.partner}.toml"
    if not path.is_file():
        known = catalog.find(adding.choices.partner)
        message = (
            f"{known.name}: lies in {known.folder}; a partner must lie in {adding.zoo}, "
            "since its manifest will name the other half; add it there first"
        )
        raise InputError(message)
    partner = Manifest.read(path)
    if partner.tower and (adding.zoo / f"{partner.tower.partner}.toml").is_file():
        message = f"{partner.name}: has a partner, {partner.tower.partner}; remove that first"
        raise InputError(message)
    with staging(adding.zoo) as stage:
        gathered = adding.gather(adding.files, stage, name)
        weights = partner.weights.partition("#")[0]  # `draft` says which output it is
        one = OneGraph(adding.files, gathered.graph, weights)
        gathered = replace(gathered, files=one)
        made = prepare(gathered, adding.choices, name=name, checks=adding.checks)
        roles = made.manifest.modality, partner.modality
        if set(roles) not in ({"text", "image"}, {"text", "audio"}):
            message = f"{name}: takes {roles[0]}, and {partner.name} {roles[1]}"
            raise InputError(f"{message}; a pair is of texts, and of images or sounds")
        require_one_space(made.manifest, partner)
        ready = _with_tower(made, _tower(adding, roles[0], partner.name), "--partner")
        changed = replace(partner, tower=_tower(adding, roles[1], name))
        (placed,) = place(ready.manifest, zoo=adding.zoo, changes=((partner, changed),))
    adding.close()
    return replace(ready, manifest=placed)


def require_one_space(one: Manifest, other: Manifest) -> None:
    """Raise unless vectors of two backbones may be compared.

    Raises
    ------
    InputError
        With what differs.
    """
    if one.space() == other.space():
        return
    differs = [
        f"{key} {getattr(one, key)!r} and {getattr(other, key)!r}"
        for key in SPACE
        if getattr(one, key) != getattr(other, key)
    ]
    message = f"{one.name} and {other.name} share no space: {', '.join(differs)}"
    raise InputError(f"{message}; choose outputs of both that are compared, with --output")


def _hash_of(found: Mapping[Role, Gathered]) -> str:
    """Return what the weights of a pair are known by, where only their files tell."""
    hashes = {
        f"{tower}.{role}": entry.sha256
        for tower, gathered in sorted(found.items())
        for role, entry in sorted(gathered.entries.items())
        if role != "tokenizer"
    }
    return f"sha256:{hash_facts(hashes)}"


def _said_of(choices: Choices, role: Role, towers: Collection[Role]) -> Choices:
    """Return what was said of one tower: what only the other one has is left out."""
    others = set(towers) - {role}
    inputs = {key: n for key, n in choices.inputs.items() if OWN_INPUTS.get(key) not in others}
    options = {key: table for key, table in choices.options.items() if key not in others}
    said = replace(choices, inputs=inputs, options=options)
    return said if role == "text" else replace(said, prompts={}, max_length=None, tokenizer="")


def _with_tower(made: Added, tower: Tower, source: str) -> Added:
    facts = [Fact("tower.partner", tower.partner, source)]
    if tower.logit_scale is not None:
        facts.append(Fact("tower.logit_scale", tower.logit_scale, "--logit-scale"))
    return Added(replace(made.manifest, tower=tower), (*made.facts, *facts), made.notes)
