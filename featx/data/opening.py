"""Opening the backbone that vectors were made with."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featx.backbone.backbone import Backbone, identity
from featx.backbone.settings import Settings
from featx.data import verified
from featx.errors import InputError, ManifestError
from featx.zoo import catalog
from featx.zoo.manifest import Manifest

if TYPE_CHECKING:
    from featx.zoo.manifest import Adjustments

_LONGEST = 200
"""Bytes of a name; a file of it and its suffix can be looked for."""

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
    facts: Mapping[str, Any],
    dim: int,
    settings: Settings,
    *,
    beside: Path | None = None,
    say: Say = lambda _: None,
) -> Backbone:
    """Return the backbone that made the vectors of a head or a gallery.

    Its manifest may lie in the same folder, as ``featx finetune`` writes it; else it is looked for
    in the zoo.

    Parameters
    ----------
    facts : mapping
        Its ``model`` and ``prompt``, as a head's header and ``gallery.json`` have them.
    dim : int
    settings : Settings
    beside : Path, optional
        The head or gallery.
    say : callable, optional

    Raises
    ------
    InputError
        If the model is no name: a file may come from anyone, and no path in one is opened.
    FeatxError
        As `open_backbone` does.
    """
    if facts["model"] == "identity":
        return Backbone(identity(dim))
    prompt = str(facts.get("prompt") or "")
    model = str(facts["model"])
    if not _is_name(model):
        message = f"model {model[:80]!r} is no name of a backbone, and no path is opened; refused"
        raise InputError(f"{beside}: {message}" if beside else message)
    if beside is not None and _is_beside(beside, model, str(facts.get("space"))):
        model = str(_beside(beside, model))
    return open_backbone(model, settings, prompt=prompt, dim=dim, say=say)


def _is_name(model: str) -> bool:
    return (
        0 < len(model.encode()) <= _LONGEST
        and Path(model).name == model
        and not model.endswith(".toml")
    )


def _beside(path: Path, model: str) -> Path:
    return path.parent / f"{model}.toml"


def _is_beside(path: Path, model: str, space: str) -> bool:
    """Return whether the manifest of a model lies beside a file, and its vectors in this space."""
    found = _beside(path, model)
    if Path(model).name != model or not found.is_file():
        return False
    with suppress(ManifestError):
        return Manifest.read(found).space() == space
    return False
