"""What every worker of a run is told, and what it tells of a unit."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featx.backbone.backbone import Backbone, identity
from featx.backbone.settings import Settings
from featx.data import opening
from featx.embedding import Policy, Progress
from featx.zoo import catalog

if TYPE_CHECKING:
    from featx.zoo.manifest import Adjustments


def _none_adjusted() -> "Adjustments":
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a worker opens the backbone.

    Attributes
    ----------
    model : str
        A name of the zoo, the path of a manifest, or ``"identity"``.
    settings : Settings
    prompt, dim, adjusted
        As for `featx.data.opening.open_backbone`; `dim` is needed for ``"identity"``.
    """

    model: str
    settings: Settings = field(default_factory=Settings)
    prompt: str = ""
    dim: int | None = None
    adjusted: "Adjustments" = field(default_factory=_none_adjusted)

    def located(self) -> "Recipe":
        """Return the recipe for a process that runs in another folder: its paths are absolute."""
        is_path = self.model.endswith(".toml")
        cache = self.settings.cache
        return replace(
            self,
            model=str(Path(self.model).absolute()) if is_path else self.model,
            settings=replace(self.settings, cache=cache and cache.absolute()),
        )

    def open(self) -> Backbone:
        """Return the backbone, found good on this machine.

        Raises
        ------
        FeatxError
            As `featx.data.opening.open_backbone` does.
        """
        if self.model == "identity":
            return Backbone(identity(self.dim or 0))
        return opening.open_backbone(
            self.model, self.settings, prompt=self.prompt, dim=self.dim, adjusted=self.adjusted
        )

    def facts(self) -> dict[str, Any]:
        """Return what a set records of the backbone; its graph need not be on this machine."""
        if self.model == "identity":
            return self.open().facts
        manifest = catalog.find(self.model).adjusted(**self.adjusted)
        return Backbone(manifest, self.settings, prompt=self.prompt, dim=self.dim).facts


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """What every worker of a run is told.

    Attributes
    ----------
    recipe : Recipe
    policy : Policy
    url : str
        Where the set lies, as all workers reach it.
    set_id, fingerprint, version : str
        Of the set, of the vectors, and of featx: each worker compares its own.
    items : int
        Of the whole source.
    run : str
        Four hex digits that stand in the names of all files that this run writes.
    cache : Path or None
        The user-wide cache of the machine that a worker runs on.
    """

    recipe: Recipe
    policy: Policy
    url: str
    set_id: str
    fingerprint: str
    version: str
    items: int
    run: str
    cache: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a unit.

    Attributes
    ----------
    number : int
    key : str
        Of the unit.
    entry : dict or None
        Of the manifest: names the files that were written; None if nothing is new.
    progress : Progress
        Counts the items that the worker was given.
    failed : list of str
        Their ids.
    timings : dict
        See `featx.backbone.timings.Timings`.
    """

    number: int
    key: str
    entry: Mapping[str, Any] | None
    progress: Progress
    failed: list[str] = field(default_factory=list)
    timings: Mapping[str, Any] = field(default_factory=dict)
