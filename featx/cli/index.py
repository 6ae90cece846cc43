"""``featx index``: building a gallery, and the commands that change one."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from featx.cli import options as o
from featx.cli.localpath import LocalPath
from featx.cli.urlarguments import SetPath
from featx.registry import resolve

if TYPE_CHECKING:
    from featx.data.store import EmbeddingSet
    from featx.gallery.gallery import Gallery
    from featx.gallery.postgres.storage import AskedStorage
    from featx.gallery.recipe import GalleryRecipe, Thumbnails
    from featx.index.metric import MetricName

SUBCOMMANDS = {
    "add": "Add items to a gallery; each window is on the disk before the next one begins.",
    "remove": "Remove items from a gallery by their ids.",
    "stats": "Show what a gallery holds, and what was measured of it.",
    "compact": "Drop removed items, join what was added, and tune the index anew.",
    "duplicates": "List items that are the same or nearly so, or leaks between two sets.",
}


_WHY = {
    "exact": "; chosen since all rows can be compared in time",
    "pq": "; chosen since comparing all rows would take long",
    "ivf": "; chosen since it answers sooner than pq at this size",
}


_DSN = (
    "A database, with --backend pgvector: postgresql://user@host/name or 'host=... dbname=...'; "
    "several share the items."
)


class IndexGroup(click.Group):
    """A group that builds where its first argument is none of its commands."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the command names."""
        return list(SUBCOMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name not in SUBCOMMANDS:
            return None
        place = {cmd_name: f"featx.cli.index_{cmd_name}:{cmd_name}"}
        command: click.Command = resolve("command", place, cmd_name)
        return command

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,  # noqa: ANN401 - as click has it
    ) -> click.Context:
        """Hand arguments that name no command to the building of a gallery."""
        is_build = bool(args) and args[0] not in SUBCOMMANDS and args[0] != "--help"
        if not is_build:
            return super().make_context(info_name, args, parent, **extra)
        if not extra.get("resilient_parsing"):
            _suggest(args[0], click.Context(self, info_name=info_name, parent=parent))
        return build.make_context(info_name, args, parent, **extra)

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a line for each use."""
        build.format_usage(ctx, formatter)

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the help of both uses, without importing any command."""
        build.format_help(ctx, formatter)


class Build(click.Command):
    """The building of a gallery, whose help tells of the other commands too."""

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a line for each use."""
        formatter.write_usage(ctx.command_path, "[OPTIONS] SET -o X.knn")
        formatter.write_usage(ctx.command_path, "COMMAND X.knn [ARGS]...", prefix="       ")

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands."""
        with formatter.section("Commands for a gallery that is there"):
            formatter.write_dl(list(SUBCOMMANDS.items()))


def _suggest(word: str, ctx: click.Context) -> None:
    """Fail where the first argument is a misspelt command, not a set."""
    from difflib import get_close_matches

    near = get_close_matches(word, SUBCOMMANDS, n=1)
    if near and not Path(word).exists():
        ctx.fail(f"no such command or set {word!r}; did you mean {near[0]!r}?")


@click.command("index", cls=Build)
@click.argument("target", metavar="SET", type=SetPath(path_type=Path))
@click.option("-o", "--out", required=True, type=LocalPath(path_type=Path), help="Gallery: X.knn.")
@click.option(
    "--kind",
    default="auto",
    show_default=True,
    help="auto, exact, pq, ivf, hnsw or numpy.",
)
@click.option(
    "--recall",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.99,
    show_default=True,
    help="Share of the ten nearest that the index has to find.",
)
@click.option(
    "--metric",
    type=click.Choice(["cosine", "dot", "l2"]),
    default="cosine",
    show_default=True,
    help="What counts as near.",
)
@click.option("--standalone", is_flag=True, help="Copy the vectors; the set may go then.")
@click.option(
    "--backend",
    type=click.Choice(["files", "pgvector"]),
    default="files",
    show_default=True,
    help="Where it is kept: in the folder, or in PostgreSQL.",
)
@click.option("--dsn", "dsns", multiple=True, help=_DSN)
@click.option(
    "--storage",
    type=click.Choice(["auto", "halfvec", "vector"]),
    default="auto",
    show_default=True,
    help="Numbers of PostgreSQL: 16 bits (where those do), or 32.",
)
@click.option("--no-thumbnails", is_flag=True, help="Make none; they are for `search --html`.")
@click.option(
    "--drop-changes", is_flag=True, help="Replace a gallery that items were added to, or removed."
)
@o.json_option
def build(
    target: Path,
    out: Path,
    kind: str,
    recall: float,
    metric: str,
    standalone: bool,
    backend: str,
    dsns: tuple[str, ...],
    storage: str,
    no_thumbnails: bool,
    drop_changes: bool,
    as_json: bool,
) -> None:
    """Build a nearest-neighbour gallery from an embedding set, or change one.

    The index picks its kind by size and tunes itself on items held out, until it finds as many
    of the nearest as --recall asks; the vote of neighbours is tuned by leave-one-out.

    The gallery refers to the set's vectors and does not copy them: keep both together, or use
    --standalone.  A set that is called like a command is reached as ./add.

    --backend pgvector copies all into PostgreSQL instead, for more than one machine holds, or many
    share.  A password is taken from PGPASSWORD, ~/.pgpass or a service file; one in --dsn is used
    now and not kept.
    """
    from featx.data.writer import versions
    from featx.gallery.recipe import GalleryRecipe
    from featx.gallery.thumbnails import thumbnails_of

    if backend == "files" and (dsns or storage != "auto"):
        raise click.UsageError("--dsn and --storage need --backend pgvector.")
    if backend == "pgvector" and not dsns:
        raise click.UsageError("--backend pgvector needs --dsn postgresql://user@host/database.")
    _require_near(target)
    opened = o.open_set(target)
    recipe = GalleryRecipe(
        kind=kind,
        recall=recall,
        metric=cast("MetricName", metric),
        standalone=standalone,
        drop_changes=drop_changes,
        command="" if dsns else o.command_line(),
        versions=versions(),
    )
    thumbnails = None if no_thumbnails else thumbnails_of(opened)
    with _built(opened, out, recipe, thumbnails, dsns, storage) as gallery:
        if as_json:
            o.print_json(_facts(gallery) | {"out": str(out)})
        else:
            _show(gallery, asked=kind)


def _built(
    opened: "EmbeddingSet",
    out: Path,
    recipe: "GalleryRecipe",
    thumbnails: "Thumbnails | None",
    dsns: tuple[str, ...],
    storage: str,
) -> "Gallery":
    """Build a gallery in files, or in the databases that are named."""
    if not dsns:
        from featx.gallery.build import build_gallery

        return build_gallery(opened, out, recipe, thumbnails=thumbnails)
    from featx.gallery.postgres.build import Placement, build_postgres_gallery
    from featx.gallery.postgres.dsn import Dsn, without_secrets

    placement = Placement(
        dsns=[Dsn.parse(text) for text in dsns],
        storage=cast("AskedStorage", storage),
        tell=lambda line: o.say(f"note: {line}"),
    )
    recipe = replace(recipe, command=o.command_line(without_secrets(sys.argv[1:], dsns)))
    gallery = build_postgres_gallery(opened, out, recipe, placement, thumbnails=thumbnails)
    if any("password" in dsn.secrets for dsn in placement.dsns):
        o.say(
            "note: the password is not kept; from now on set PGPASSWORD, or put it into ~/.pgpass"
        )
    return gallery


def _require_near(target: Path) -> None:
    """Raise where there is no such set, naming the one that is spelt alike."""
    from difflib import get_close_matches

    from featx.errors import InputError

    if target.exists() or not target.parent.is_dir():
        return
    near = get_close_matches(target.name, [path.name for path in target.parent.iterdir()], n=1)
    if near:
        spelt = str(target.parent / near[0])
        message = f"{target}: no such embedding set; did you mean {spelt!r}?"
        raise InputError(message)


def _facts(gallery: "Gallery") -> dict[str, Any]:
    """Return what was made and measured, as JSON values."""
    from featx.evaluate.interval import wilson_interval

    metrics = gallery.facts["metrics"]
    accuracy, n = metrics["accuracy"], metrics["n"]
    interval = None if accuracy is None else list(wilson_interval(round(accuracy * n), n))
    return {
        "items": len(gallery),
        "kind": gallery.facts["index"]["kind"],
        "metric": gallery.facts["metric"],
        "k": gallery.k,
        "temperature": gallery.temperature,
        "accuracy": accuracy,
        "interval": interval,
        "n": n,
        **{name: metrics[name] for name in ("recall", "latency_ms", "size_bytes")},
    }


def _show(gallery: "Gallery", *, asked: str) -> None:
    found = _facts(gallery)
    is_chosen = asked == "auto" and "backend" not in gallery.facts
    why = _WHY.get(found["kind"], "") if is_chosen else ""
    click.echo(f"{gallery.path}: {found['items']:,} items, {gallery.facts['dim']} numbers each")
    o.print_measure("index", f"{found['kind']}, {found['metric']}{why}")
    o.print_measure("vote", f"k {found['k']}, temperature {found['temperature']:g}")
    if found["accuracy"] is not None:
        low, high = found["interval"]
        shown = f"{found['accuracy']:.3f}  [{low:.3f}, {high:.3f}]  n={found['n']:,}"
        o.print_measure("leave-one-out accuracy", shown)
    o.print_measure("recall", f"{found['recall']:.4f}")
    o.print_measure("median latency", f"{found['latency_ms']:.3g} ms a query")
    o.print_measure("index memory", human_bytes(found["size_bytes"]))


def human_bytes(size: int) -> str:
    """Return a number of bytes for people.

    Examples
    --------
    >>> human_bytes(999), human_bytes(48_000_000)
    ('999 bytes', '48.0 MB')
    """
    for unit, number in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= number:
            return f"{size / number:.1f} {unit}"
    return f"{size} bytes"


@click.group(cls=IndexGroup)
def index() -> None:
    """Build a nearest-neighbour gallery from an embedding set, or change one."""
