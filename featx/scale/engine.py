"""Who embeds the units: this process, or the workers of a cluster."""

from collections.abc import Generator, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

from featx.backbone.backbone import Backbone
from featx.scale.assignment import Assignment, Outcome, Recipe
from featx.scale.unit import Unit
from featx.scale.worker import Worker


class Engine(Protocol):
    """Embeds units, in any order; what is lost on the way is simply not done."""

    recipe: Recipe
    """How the workers open the backbone."""

    def ready(self) -> AbstractContextManager[object]:
        """Hold what the workers need; what is missing is told before anything is listed.

        Raises
        ------
        FeatxError
            If there is no cluster, or no node of it holds a worker.
        """
        ...

    def facts(self) -> dict[str, Any]:
        """Return what a set records of the backbone."""
        ...

    def run(self, assignment: Assignment, units: Iterable[Unit]) -> Generator[Outcome]:
        """Yield what came of each unit, as soon as it is done.

        Raises
        ------
        FeatxError
            If the units cannot be done; what was yielded before is.
        """
        ...


class InProcess:
    """Embeds the units in this process, one after the other.

    Parameters
    ----------
    backbone : Backbone
    """

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone
        self.recipe = Recipe(model=backbone.manifest.name, settings=backbone.settings)

    def ready(self) -> AbstractContextManager[object]:
        """Hold nothing: the backbone is open."""
        return nullcontext()

    def facts(self) -> dict[str, Any]:
        """Return what a set records of the backbone."""
        return self._backbone.facts

    def run(self, assignment: Assignment, units: Iterable[Unit]) -> Generator[Outcome]:
        """Yield what came of each unit, in order."""
        worker = Worker(assignment, self._backbone)
        for unit in units:
            yield worker.do(unit)
