"""The backbones that a command line names, or all that take the items of a source."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from featx.cli import options as o

if TYPE_CHECKING:
    from featx.backbone.backbone import Backbone
    from featx.backbone.settings import Settings
    from featx.data.sources.columns import Columns
    from featx.data.sources.options import DescribedSource


@dataclass(slots=True)
class Contenders:
    """Backbones for items of one kind.

    Attributes
    ----------
    modality : str
    names : list of str
    is_strict : bool
        Whether each was asked for by its name.
    skipped : dict of str to str
        Backbones that were left out: name → why.
    """

    modality: str
    names: list[str]
    is_strict: bool
    skipped: dict[str, str] = field(default_factory=dict)

    def open(self, source: "DescribedSource", settings: "Settings") -> "list[Backbone]":
        """Open all of them; one that was not asked for by its name and does not work is skipped."""
        from featx.cli.embed import identity_of
        from featx.errors import FeatxError

        opened = []
        for name in self.names:
            try:
                opened.append(
                    identity_of(source) if name == "identity" else o.open_backbone(name, settings)
                )
            except FeatxError as error:
                if self.is_strict:
                    raise
                self.skipped[name] = str(error)
        return opened


def contenders(models: Sequence[str], source: Sequence[str], columns: "Columns") -> Contenders:
    """Return the backbones that were named, or all that take such items.

    Raises
    ------
    InputError
        If a set is named instead of a source, or those named do not all take its items.
    """
    from featx.cli.queries import is_set
    from featx.data.sources import guess_modality
    from featx.errors import InputError

    for item in source:
        if is_set([item]):
            message = f"{item}: is an embedding set; name the source that it was made of"
            raise InputError(message)
    if not models:
        return _all_for(guess_modality(source, columns=columns))
    names = list(dict.fromkeys(models))
    takes = {name: _modality(name) for name in names}
    if len(set(takes.values())) == 1:
        return Contenders(takes[names[0]], names, is_strict=True)
    held = guess_modality(source, columns=columns)
    wrong = next(name for name in names if takes[name] != held)
    message = (
        f"{wrong}: takes items of kind {takes[wrong]!r}, but {' '.join(source)} holds {held!r};"
        " leave it out"
    )
    raise InputError(message)


def _modality(name: str) -> str:
    from featx.zoo import catalog

    return "array" if name == "identity" else catalog.find(name).modality


def _all_for(modality: str) -> Contenders:
    """Return all backbones of a modality that are on this machine."""
    from featx.errors import FeatxError
    from featx.zoo import catalog

    choice = Contenders(modality, ["identity"] if modality == "array" else [], is_strict=False)
    for name in catalog.names():
        try:
            manifest = catalog.find(name)
        except FeatxError as error:
            choice.skipped[name] = str(error)
            continue
        if manifest.modality != modality:
            choice.skipped[name] = f"takes {manifest.modality!r}, the items are {modality!r}"
        elif not catalog.is_here(manifest) and catalog.can_be_pulled(manifest):
            choice.skipped[name] = f"not on this machine; run: featx models pull {name}"
        else:
            choice.names.append(name)
    return choice
