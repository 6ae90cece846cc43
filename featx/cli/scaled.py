"""``featx embed`` with several workers, or to a URL: its options, and the run that they ask for."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from featx.cli import options as o

if TYPE_CHECKING:
    from featx.backbone.backbone import Backbone
    from featx.data.sources.options import DescribedSource
    from featx.embedding import Policy
    from featx.scale import Recipe, ScaledRun
    from featx.scale.engine import Engine

F = TypeVar("F", bound=Callable[..., Any])


def workers_options(command: F) -> F:
    """Add ``--engine`` and its siblings: who embeds."""
    for option in [
        click.option(
            "--gpus-per-worker",
            type=click.FloatRange(min=0),
            default=0,
            show_default=True,
            help="GPUs of a worker; 0.5 lets two workers share one.",
        ),
        click.option(
            "--workers",
            type=click.IntRange(min=1),
            metavar="N",
            help="The most workers.  [default: as many as the cluster holds]",
        ),
        o.address_option,
        click.option(
            "--engine",
            type=click.Choice(["auto", "local", "ray"]),
            default="auto",
            show_default=True,
            help="Who embeds: this process, or workers of a Ray cluster (docs/scale.md).",
        ),
    ]:
        command = option(command)
    return command


@dataclass(frozen=True, slots=True)
class Workers:
    """Who is to embed, as it was asked for.

    Attributes
    ----------
    engine : {"auto", "local", "ray"}
    address : str or None
    count : int or None
    gpus : float
        Of each worker.
    """

    engine: str
    address: str | None
    count: int | None
    gpus: float

    @property
    def is_ray(self) -> bool:
        """Whether Ray is to run the workers."""
        return self.engine == "ray"

    def are_asked_for(self, out: Path) -> bool:
        """Return whether the set is made of units: with an engine, or at a URL.

        Raises
        ------
        InputError
            If an option of Ray's is given without it.
        """
        from featx.data.places import is_url
        from featx.errors import InputError

        given = {"--address": self.address, "--workers": self.count, "--gpus-per-worker": self.gpus}
        if not self.is_ray and (name := next((key for key, value in given.items() if value), None)):
            raise InputError(f"{name}: is for workers of Ray; add --engine ray")
        return self.engine != "auto" or is_url(out)

    def run(
        self,
        source: "DescribedSource",
        recipe: "Recipe",
        out: Path,
        *,
        cache_dir: Path | None,
        policy: "Policy",
        quiet: bool = False,
    ) -> "ScaledRun":
        """Return the run; its workers' cluster is joined, and nothing is listed or embedded yet.

        Parameters
        ----------
        source : DescribedSource
        recipe : Recipe
        out : Path
            A folder, or a URL.
        cache_dir : Path or None
            The cache that was asked for; on other machines none is used that was not.
        policy : Policy
        quiet : bool
            Whether nothing is said of what is waited for.
        """
        from featx.data.places import url_of
        from featx.errors import InputError
        from featx.scale import ScaledRun

        if policy.verify:
            raise InputError(
                "--verify: files of units are known by their size and time; to read all of them "
                "again, embed without --engine to a local folder"
            )
        engine = self._engine(recipe, quiet=quiet)
        click.get_current_context().with_resource(engine.ready())
        is_elsewhere = self.is_ray and bool(self.address or os.environ.get("RAY_ADDRESS"))
        cache = cache_dir if is_elsewhere else recipe.settings.cache
        command = o.command_line()
        return ScaledRun(source, engine, url_of(out), cache=cache, command=command, policy=policy)

    def _engine(self, recipe: "Recipe", *, quiet: bool) -> "Engine":
        if self.is_ray:
            from featx.scale.rayengine import RayEngine

            say: dict[str, Any] = {} if quiet else {"say": o.say}
            return RayEngine(
                recipe, address=self.address, workers=self.count, gpus=self.gpus, **say
            )
        from featx.scale.engine import InProcess

        return InProcess(opened(recipe))


def opened(recipe: "Recipe") -> "Backbone":
    """Open a backbone in this process, and say how near its vectors are to the original's."""
    if recipe.model == "identity":
        return recipe.open()
    return o.open_backbone(
        recipe.model,
        recipe.settings,
        prompt=recipe.prompt,
        dim=recipe.dim,
        adjusted=recipe.adjusted,
    )
