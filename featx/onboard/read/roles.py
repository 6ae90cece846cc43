"""What the inputs and outputs of a graph are for, as far as names and shapes leave no choice."""

from collections.abc import Iterator, Mapping

from featx.errors import InputError
from featx.onboard.read.facts import Fact
from featx.onboard.read.signature import Port, Signature

MAIN = {"text": "token_ids", "image": "image", "audio": "windows", "array": "array"}
"""Modality → the role that an item's own content has."""

INPUTS = {
    "input_ids": ("text", "token_ids"),
    "pixel_values": ("image", "image"),
    "input_values": ("audio", "windows"),
    "input_features": ("audio", "windows"),
}
"""Names that exporters give to inputs → modality and role."""

MASKS = {"text": "attention_mask", "audio": "sample_mask"}
"""Modality → the role of an input that is called ``attention_mask``."""

TYPES = "token_type_ids"

WHOLE = ("sentence_embedding", "text_embeds", "image_embeds", "embedding", "embeddings")
"""Outputs that are one vector an item, by their name."""

TOKENS = ("last_hidden_state", "token_embeddings")
"""Outputs that are one vector a token or patch, by their name."""

NO_EMBEDDING = ("logits", "probabilities", "scores")
"""Outputs that are taken only where the user says so."""

ROLES = {
    "--input": (*MAIN.values(), *MASKS.values(), TYPES),
    "--output": ("embedding", "tokens", "logits"),
}
"""Flag → the roles that it may say."""

OF_MODALITY = {
    "text": ("token_ids", "attention_mask", TYPES),
    "image": ("image",),
    "audio": ("windows", "sample_mask"),
    "array": ("array",),
}
"""Modality → what a graph can be fed with."""

FLOATS = {"FLOAT", "FLOAT16", "DOUBLE", "BFLOAT16"}


def require_roles(inputs: Mapping[str, str], outputs: Mapping[str, str]) -> None:
    """Raise if a flag says a role that there is none of.

    Parameters
    ----------
    inputs, outputs : mapping of str to str
        Role → name in the graph.

    Raises
    ------
    InputError
        With the roles that there are.
    """
    for flag, said in zip(ROLES, (inputs, outputs), strict=True):
        for role, name in said.items():
            if role not in ROLES[flag]:
                known = ", ".join(ROLES[flag])
                message = f"{flag} {role}={name}: unknown role {role!r}; expected one of {known}"
                raise InputError(message)


def require_ports(
    signature: Signature, inputs: Mapping[str, str], outputs: Mapping[str, str]
) -> None:
    """Raise if a flag names what the graph has not.

    Parameters
    ----------
    signature : Signature
    inputs, outputs : mapping of str to str
        Role → name in the graph.

    Raises
    ------
    InputError
        With what it has.
    """
    for flag, said, ports in (
        ("--input", inputs, signature.inputs),
        ("--output", outputs, signature.outputs),
    ):
        names = [port.name for port in ports]
        for role, name in said.items():
            if name not in names:
                what = f"has no {flag.removeprefix('--')} {name!r}"
                message = f"{flag} {role}={name}: the graph {what}; it has: {', '.join(names)}"
                raise InputError(message)


def free_roles(modality: str, known: Mapping[str, Fact]) -> list[str]:
    """Return the roles of a modality's inputs that nothing has yet."""
    return [role for role in OF_MODALITY.get(modality, ()) if f"inputs.{role}" not in known]


def modality_fact(signature: Signature, graph: str) -> Iterator[Fact]:
    """Yield the modality that the names of the inputs state, if they do.

    Raises
    ------
    InputError
        If they state two.
    """
    known = {INPUTS[port.name][0]: port.name for port in signature.inputs if port.name in INPUTS}
    if len(known) > 1:
        message = (
            f"{graph}: takes {' and '.join(sorted(known))} at once, by the inputs "
            f"{', '.join(sorted(known.values()))}; export its towers one by one"
        )
        raise InputError(message)
    for modality, name in known.items():
        yield Fact("modality", modality, f"{graph}: its input {name!r}")


def input_facts(
    signature: Signature, modality: str, graph: str, said: Mapping[str, Fact]
) -> Iterator[Fact]:
    """Yield the roles of inputs that the user said nothing of, where there is no choice."""
    taken = {fact.value for key, fact in said.items() if key.startswith("inputs.")}
    left = [port for port in signature.inputs if port.name not in taken]
    roles = {name: role for name, (kind, role) in INPUTS.items() if kind == modality}
    roles |= {"token_type_ids": TYPES} if modality == "text" else {}
    roles |= {"attention_mask": MASKS[modality]} if modality in MASKS else {}
    for port in left:
        if port.name in roles:
            yield Fact(f"inputs.{roles[port.name]}", port.name, f"{graph}: its name")
        elif len(signature.inputs) == 1:
            yield Fact(f"inputs.{MAIN[modality]}", port.name, f"{graph}: its only input")


def output_fact(signature: Signature, pooling: Fact | None, graph: str) -> Fact | None:
    """Return the output that makes the embedding, where there is no choice.

    Parameters
    ----------
    signature : Signature
    pooling : Fact or None
        What is known of it.
    graph : str
    """
    floats = [p for p in signature.outputs if p.dtype in FLOATS and p.name not in NO_EMBEDDING]
    wholes = [port for port in floats if port.rank == 2]
    rows = [port for port in floats if port.rank == 3]
    flag_says_tokens = pooling is not None and pooling.source.startswith("--")
    if pooling is not None and pooling.value == "none":
        return _one("embedding", wholes, WHOLE, graph)
    if not flag_says_tokens and (found := _named("embedding", wholes, WHOLE, graph)):
        return found
    if pooling is not None:
        return _one("tokens", rows, TOKENS, graph)
    if len(signature.outputs) > 1:
        return None
    return _one("embedding", wholes, (), graph) or _one("tokens", rows, (), graph)


def _one(role: str, ports: list[Port], names: tuple[str, ...], graph: str) -> Fact | None:
    if len(ports) == 1:
        return Fact(f"outputs.{role}", ports[0].name, f"{graph}: {ports[0]}")
    return _named(role, ports, names, graph)


def _named(role: str, ports: list[Port], names: tuple[str, ...], graph: str) -> Fact | None:
    found = [port for name in names for port in ports if port.name == name]
    return Fact(f"outputs.{role}", found[0].name, f"{graph}: {found[0]}") if found else None
