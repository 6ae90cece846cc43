"""Backbones for queries: with a prompt of their own, or of another modality in the same space."""

from collections.abc import Callable

from featx.backbone.backbone import Backbone
from featx.data.opening import open_backbone
from featx.errors import InputError, SpaceError, UnknownNameError

QUERY = "query"
"""Name of the prompt of queries, as sentence-transformers has it."""

HELD = ("document", "passage", "corpus")
"""Names of prompts of what is searched, as sentence-transformers has them."""


def query_prompt(backbone: Backbone) -> str:
    """Return the name of the prompt that queries for vectors of this backbone get.

    The prompt of queries where the vectors have one of documents, else that of the vectors.
    """
    own = str(backbone.facts["prompt"])
    return QUERY if own in HELD and QUERY in backbone.manifest.prompts else own


def are_apart(query: str, held: str) -> bool:
    """Return whether prompts differ as they are meant to: that of a query and of what it seeks."""
    return query == QUERY and held in HELD


def has_unused_prompt(backbone: Backbone) -> bool:
    """Return whether there is a prompt for queries, and vectors without any are searched.

    Whether it is wanted then nobody has said: such models search with it, and compare without.
    """
    return not backbone.facts["prompt"] and QUERY in backbone.manifest.prompts


def for_queries(backbone: Backbone, prompt: str | None = None) -> Backbone:
    """Return the backbone for queries; it shares the space, and all but the prompt.

    Parameters
    ----------
    backbone : Backbone
        Of the vectors that are searched.
    prompt : str, optional
        Its name, if it is not to be chosen; empty for none.  Only texts have one.

    Raises
    ------
    InputError
        If the backbone has no prompt of that name.
    """
    chosen = query_prompt(backbone) if prompt is None else prompt
    if chosen == backbone.facts["prompt"]:
        return backbone
    return Backbone(backbone.manifest, backbone.settings, prompt=chosen, dim=backbone.dim)


def open_partner(
    backbone: Backbone, *, prompt: str = "", say: Callable[[str], None] = lambda _: None
) -> Backbone:
    """Return the other half of a pair, whose vectors may be compared with those of this one.

    Parameters
    ----------
    backbone : Backbone
    prompt : str
        Name of a prompt of the other half.
    say : callable, optional
        As for `open_backbone`.

    Raises
    ------
    InputError
        If it is no half of a pair, or the other half is not here.
    SpaceError
        If the other half is of another space by now.
    FeatxError
        As `open_backbone` does.
    """
    manifest = backbone.manifest
    if manifest.tower is None:
        message = (
            f"{manifest.name}: is no half of a pair, so that only items of kind "
            f"{manifest.modality!r} have vectors of its space; a pair comes by: featx models add"
        )
        raise InputError(message)
    name = manifest.tower.partner
    try:
        other = open_backbone(name, backbone.settings, prompt=prompt, dim=backbone.dim, say=say)
    except UnknownNameError as cause:
        message = (
            f"{manifest.name}: its other half {name!r} is not here; add it with: "
            f"featx models add WHAT --name {name} --weights {manifest.weights}"
        )
        raise InputError(message) from cause
    if other.space != backbone.space:
        message = (
            f"{manifest.name} and its other half {name}: share no space, {backbone.dim} wide; "
            "their manifests have changed since, so add both again"
        )
        raise SpaceError(message)
    return other
