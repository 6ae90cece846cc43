"""How ``featx train`` reads a set: all of it at once, or in blocks, here or on a cluster."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from featx.cli import options as o

if TYPE_CHECKING:
    from featx.data.store import EmbeddingSet
    from featx.heads.predict import Head
    from featx.train.choose import Tried
    from featx.train.recipe import Recipe

F = TypeVar("F", bound=Callable[..., Any])


def reading_options(command: F) -> F:
    """Add ``--streaming`` and its siblings."""
    for option in [
        o.address_option,
        click.option(
            "--engine",
            type=click.Choice(["local", "ray"]),
            default="local",
            show_default=True,
            help="Who reads blocks: this process, or tasks of a Ray cluster, with --streaming.",
        ),
        click.option(
            "--streaming/--no-streaming",
            default=None,
            help="Read the set in blocks and keep sums.  [default: above 4 GiB of vectors]",
        ),
    ]:
        command = option(command)
    return command


@dataclass(frozen=True, slots=True)
class Reading:
    """How a set is to be read.

    Attributes
    ----------
    streaming : bool or None
        None leaves it to the size of the set.
    engine : {"local", "ray"}
    address : str or None
        Of a Ray cluster.
    """

    streaming: bool | None
    engine: str
    address: str | None

    def require_sense(self) -> None:
        """Raise where options contradict each other.

        Raises
        ------
        UsageError
        """
        if self.engine == "local" and self.address is not None:
            raise click.UsageError("--address: is of a Ray cluster; add --engine ray.")
        if self.engine == "ray" and self.streaming is False:
            raise click.UsageError("--engine ray: reads blocks; leave --no-streaming out.")

    def fit(
        self, opened: "EmbeddingSet", recipe: "Recipe", tried: "list[Tried]", *, raw: bool
    ) -> "tuple[Head, list[str]]":
        """Train a head, and say what was left out.

        Parameters
        ----------
        opened : EmbeddingSet
        recipe : Recipe
        tried : list of Tried
            Each kind of head that ``auto`` tries is added.
        raw : bool
            Whether the raw-feature baseline is asked for; sets that are streamed have none.
        """
        from featx.train.streaming.run import is_streamed, train_streamed

        if self.engine == "ray":
            from featx.scale.raysegments import on_ray

            with on_ray(self.address) as each:
                return train_streamed(opened, recipe, each=each, on_tried=tried.append), []
        if is_streamed(opened, recipe) if self.streaming is None else self.streaming:
            return train_streamed(opened, recipe, on_tried=tried.append), []
        return _held(opened, recipe, tried, raw=raw)


def _held(
    opened: "EmbeddingSet", recipe: "Recipe", tried: "list[Tried]", *, raw: bool
) -> "tuple[Head, list[str]]":
    from featx.data.origin import contents_of
    from featx.train.train import train

    contents = contents_of(opened) if raw else None
    trained = train(opened, recipe, contents=contents, on_tried=tried.append)
    is_lacking = raw and contents is None and opened.modality != "array"
    lacking = "no raw-feature baseline, since the source cannot be read again"
    return trained, [lacking] if is_lacking else []
