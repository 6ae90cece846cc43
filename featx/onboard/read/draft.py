"""A manifest made of what is known, or one error that lists what is not."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Any

from featx.errors import InputError
from featx.fingerprint import hash_facts
from featx.onboard.gathering import TOKENIZER, Gathered
from featx.onboard.read.choices import Choices, flag_of
from featx.onboard.read.contradictions import (
    require_all_heard,
    require_doable,
    require_filled_pictures,
)
from featx.onboard.read.facts import Fact, Known, is_said
from featx.onboard.read.roles import (
    MAIN,
    TOKENS,
    WHOLE,
    free_roles,
    input_facts,
    modality_fact,
    output_fact,
    require_ports,
    require_roles,
)
from featx.onboard.read.signature import Port, Signature, read_signature
from featx.onboard.read.stated import stated
from featx.zoo.manifest import SCHEMA, Manifest

NEEDED = {
    "text": ("max_length",),
    "image": ("image.size", "image.mean", "image.std", "image.resize", "image.interpolation"),
    "audio": ("audio.sample_rate_hz", "audio.features", "audio.window_frames",
              "audio.window_step_frames"),
    "array": (),
}  # fmt: skip
"""Modality → what must be known of it besides what every backbone needs."""

MEL = ("audio.n_fft", "audio.hop_length", "audio.n_mels")
"""What must be known besides of mel features."""

TABLES = ("inputs", "outputs", "prompts", "text", "image", "audio", "array")
VALUES = ("modality", "pooling", "normalize", "dim", "dims", "max_length", "license", "citation")

ORDER = (
    "modality", "inputs", "outputs", "pooling", "normalize", "dim", "dims", "max_length",
    "prompts", "text", "image", "audio", "array", "precision", "weights", "license", "citation",
    "summary",
)  # fmt: skip
"""In which facts are told."""

SHOWN = 6
"""Inputs or outputs that are listed."""

UNKNOWN_LICENSE = "unknown"


@dataclass(frozen=True, slots=True)
class Draft:
    """A manifest whose files lie in a staging folder, and where each of its values comes from."""

    manifest: Manifest
    facts: tuple[Fact, ...]
    notes: tuple[str, ...]


def draft(gathered: Gathered, choices: Choices, *, name: str) -> Draft:
    """Return the manifest of gathered files.

    Raises
    ------
    InputError
        Naming all flags that are missing, what contradicts, or what cannot be done.
    """
    require_roles(choices.inputs, choices.outputs)
    signature = read_signature(gathered.path("graph"))
    require_ports(signature, choices.inputs, choices.outputs)
    known: Known = {}
    _hear(known, choices.facts())
    _hear(known, modality_fact(signature, gathered.graph))  # of a pair, files speak of both
    _hear(known, stated(gathered.config))
    _hear(known, _of_graph(signature, known, gathered.graph))
    has_tokenizer = "tokenizer" in gathered.entries
    try:
        missing = list(_missing(known, signature, has_tokenizer=has_tokenizer))
    except InputError as cause:
        message = f"{_where(gathered)}: {cause}"
        raise InputError(message) from cause
    if missing:
        raise InputError(_wanted(known, gathered, missing))
    require_doable(known, gathered, choices)
    require_filled_pictures(known)
    table = _table(known, gathered, signature, name)
    require_all_heard(known, table, choices)
    manifest = Manifest.from_table(table, folder=gathered.folder, where=gathered.where)
    return Draft(manifest, tuple(_used(known, table, gathered)), tuple(_notes(known)))


def _used(known: Known, table: dict[str, Any], gathered: Gathered) -> Iterator[Fact]:
    """Yield what was taken, in the manifest's order."""
    hashed = f"sha256 of {gathered.graph} and its weights"
    made = [
        Fact("weights", table["weights"], gathered.where if _stated_weights(gathered) else hashed),
        Fact("precision", table["precision"], f"{gathered.graph}: its operators"),
        Fact("license", table["license"], "no file"),
    ]
    found = {fact.key: fact for fact in made} | known
    for order in (order for order in ORDER if order in table):
        yield from (found[key] for key in found if key.partition(".")[0] == order)


def _notes(known: Known) -> Iterator[str]:
    if "default_prompt" in known:
        source, prompt = known["default_prompt"].source, known["default_prompt"].value
        yield f"{source}: its default is prompt {prompt!r}; featx uses it where you say so"
    if "license" not in known:
        yield f"no file states a licence; it is recorded as {UNKNOWN_LICENSE!r}; say --license ID"


def _hear(known: Known, facts: Iterable[Fact]) -> None:
    """Keep the first to state a key; what a flag replaces is told with it."""
    for fact in facts:
        before = known.setdefault(fact.key, fact)
        if is_said(before) and before.value != fact.value:
            source = f"{before.source}; {fact.source} says {fact.value!r}"
            known[fact.key] = Fact(fact.key, before.value, source)


def _of_graph(signature: Signature, known: Known, graph: str) -> Iterator[Fact]:
    """Yield what the graph states, each fact resting on those before it."""
    modality = known.get("modality")
    if modality is None or modality.value not in MAIN:
        return
    yield from input_facts(signature, str(modality.value), graph, known)
    if "outputs.embedding" not in known and "outputs.tokens" not in known:
        output = output_fact(signature, known.get("pooling"), graph)
        if output is not None:
            yield output
    yield from _of_output(signature, known, graph)
    if modality.value == "array" and (port := _input(signature, known, "inputs.array")):
        sizes = [size for size in (port.shape or ())[1:] if isinstance(size, int)]
        if sizes and len(sizes) + 1 == port.rank:
            yield Fact("array.shape", sizes, f"{graph}: {port}")


def _of_output(signature: Signature, known: Known, graph: str) -> Iterator[Fact]:
    whole = known.get("outputs.embedding")
    chosen = whole or known.get("outputs.tokens")
    port = signature.output(str(chosen.value)) if chosen else None
    if port is None:
        return
    if whole and not is_said(known.get("pooling")):
        known.pop("pooling", None)  # the graph has pooled already
        yield Fact("pooling", "none", f"{graph}: {port}")
    width = port.shape[-1] if port.shape else None
    if isinstance(width, int):
        found = Fact("dim", width, f"{graph}: {port}")
        if whole and not is_said(known.get("dim")):
            known.pop("dim", None)  # that of tokens, which the graph may have projected
        if known.get("dim", found).value != width:
            message = f"dim = {known['dim'].value} by {known['dim'].source}; but {found.source}"
            if is_said(known["dim"]):
                message += "; leave it out; --dims says a smaller width that vectors may be cut to"
            raise InputError(message)
        yield found
    elif port.name in TOKENS and "hidden_size" in known:
        yield Fact("dim", known["hidden_size"].value, known["hidden_size"].source)


def _input(signature: Signature, known: Known, key: str) -> Port | None:
    name = known[key].value if key in known else None
    return next((port for port in signature.inputs if port.name == name), None)


def _missing(
    known: Known, signature: Signature, *, has_tokenizer: bool
) -> Iterator[tuple[str, str]]:
    """Yield each key that is not known, and what there is to choose from."""
    if "modality" not in known:
        yield "modality", _listed("inputs", signature.inputs)
        return
    modality = str(known["modality"].value)
    yield from _unknown_inputs(known, signature, modality)
    has_output = "outputs.embedding" in known or "outputs.tokens" in known
    if not has_output:
        yield "outputs", _listed("outputs", signature.outputs)
    needed = ["pooling", "normalize", *NEEDED.get(modality, ())]
    if has_output:
        needed.append("dim")
    features = known.get("audio.features")
    if features is not None and features.value in {"mel", "log_mel"}:
        needed += MEL
    yield from ((key, "") for key in needed if key not in known)
    if "array.shape" not in known and (port := _input(signature, known, "inputs.array")):
        yield "array.shape", _listed("input", [port])
    if modality == "text" and not has_tokenizer:
        yield TOKENIZER, "it says how texts become ids; put it beside the graph"


def _unknown_inputs(known: Known, signature: Signature, modality: str) -> Iterator[tuple[str, str]]:
    """Yield the inputs that have no role yet, with the roles that are left for them."""
    taken = {fact.value for key, fact in known.items() if key.startswith("inputs.")}
    left = [port for port in signature.inputs if port.name not in taken]
    if not left and f"inputs.{MAIN.get(modality, '')}" in known:
        return
    free = free_roles(modality, known)
    if not free:
        message = f"{_listed('takes more than featx has for it', left)}; export it without that"
        raise InputError(message)
    roles = f"; roles left: {', '.join(free)}; what fits none of them, export it without"
    yield "inputs", _listed("unknown inputs", left) + roles


def _listed(what: str, ports: Sequence[Port]) -> str:
    more = f" and {len(ports) - SHOWN} more" if len(ports) > SHOWN else ""
    return f"{what}: {', '.join(map(str, ports[:SHOWN]))}{more}"


def _wanted(known: Known, gathered: Gathered, missing: list[tuple[str, str]]) -> str:
    keys = ", ".join(key for key, _ in missing)
    flags = " ".join(flag_of(key) for key, _ in missing)
    choices = "".join(f" ({choice})" for _, choice in missing if choice)
    if "unread" in known:
        choices += f" ({known['unread'].source})"
    return f"{_where(gathered)}: not stated: {keys}{choices}; say: {flags}"


def _where(gathered: Gathered) -> str:
    is_named = gathered.where.endswith(gathered.graph)
    return gathered.where if is_named else f"{gathered.where}: {gathered.graph}"


def _table(known: Known, gathered: Gathered, signature: Signature, name: str) -> dict[str, Any]:
    is_text = known["modality"].value == "text"
    kept = [key for key in VALUES if key in known and (is_text or key != "max_length")]
    values = {key: _listed_value(known[key].value) for key in kept}
    tables: dict[str, dict[str, object]] = {}
    for key, fact in known.items():
        table, _, inner = key.partition(".")
        if inner and table in TABLES:
            tables.setdefault(table, {})[inner] = _listed_value(fact.value)
    own = {"inputs", "outputs", str(values["modality"]), *(["prompts"] if is_text else [])}
    kind = known["kind"].value if "kind" in known else PurePosixPath(gathered.graph).name
    return {
        "schema": SCHEMA,
        "name": name,
        "summary": known["summary"].value if "summary" in known else f"{name}: {kind}",
        "license": UNKNOWN_LICENSE,
        "source": gathered.entries["graph"].url or f"a local file, {gathered.graph}",
        "weights": _weights(known, gathered),
        "precision": signature.precision,
        "files": {
            role: asdict(entry)
            for role, entry in gathered.entries.items()
            if is_text or role != "tokenizer"
        },
        **values,
        **{table: value for table, value in tables.items() if table in own},
    }


def _listed_value(value: object) -> object:
    """Return a value as TOML has it."""
    return list(value) if isinstance(value, tuple) else value


def _weights(known: Known, gathered: Gathered) -> str:
    """Return what the trained weights are known by; outputs of one graph are spaces of their own.

    Text and image towers of one repository share it, so that they may be compared.
    """
    if "weights" in known:
        return str(known["weights"].value)
    hashes = {r: e.sha256 for r, e in sorted(gathered.entries.items()) if r != "tokenizer"}
    found = _stated_weights(gathered) or f"sha256:{hash_facts(hashes)}"
    output = known.get("outputs.embedding") or known["outputs.tokens"]
    return found if output.value in (*WHOLE, *TOKENS) else f"{found}#{output.value}"


def _stated_weights(gathered: Gathered) -> str:
    return gathered.files.weights_of(gathered.graph)
