"""Opening the backbone that vectors were made with."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from featx.backbone.backbone import Backbone, identity
from featx.backbone.settings import Settings
from featx.data import verified
from featx.zoo import catalog

if TYPE_CHECKING:
    from featx.zoo.manifest import Adjustments

Say = Callable[[str], None]
"""What is done with a line for people."""


def open_backbone(
    model: str,
    settings: Settings,
    *,
    prompt: str = "",
    dim: int | None = None,
    adjusted: "Adjustments | None" = None,
    say: Say = lambda _: None,
) -> Backbone:
    """Return a backbone whose files are right and which works on this machine.

    Parameters
    ----------
    model : str
        A name of the zoo, or the path of a manifest.
    settings : Settings
    prompt, dim
        As for `Backbone`.
    adjusted : mapping, optional
        Values of the manifest that were changed.
    say : callable, optional
        Told how near the vectors are to the original's, where the precision is another.

    Raises
    ------
    UnknownNameError
        If there is no such backbone.
    StoreError
        If its files are missing or damaged.
    DeviceError
        If its vectors are not those of the original.
    """
    manifest = catalog.find(model)
    catalog.require_files(manifest)
    backbone = Backbone(manifest.adjusted(**(adjusted or {})), settings, prompt=prompt, dim=dim)
    plain = Backbone(manifest, settings)
    if plain.precision == manifest.precision:
        verified.verify_once(plain, settings.cache)
    else:
        say(str(verified.fidelity(plain, settings.cache)))
    return backbone


def open_backbone_of(
    facts: Mapping[str, Any], dim: int, settings: Settings, *, say: Say = lambda _: None
) -> Backbone:
    """Return the backbone that made the vectors of a head or a gallery.

    Parameters
    ----------
    facts : mapping
        Its ``model`` and ``prompt``, as a head's header and ``gallery.json`` have them.
    dim : int
    settings : Settings
    say : callable, optional

    Raises
    ------
    FeatxError
        As `open_backbone` does.
    """
    if facts["model"] == "identity":
        return Backbone(identity(dim))
    prompt = str(facts.get("prompt") or "")
    return open_backbone(facts["model"], settings, prompt=prompt, dim=dim, say=say)
