"""``featx predict``."""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from featx.cli import options as o
from featx.cli.predictions import FORMS, Shape, Told, choose_form, describe, writing_rows

if TYPE_CHECKING:
    from featx.cli.queries import Encoded
    from featx.heads.predict import Head

UNAUTHORIZED = 401


@click.command()
@click.argument("head", metavar="[HEAD]", required=False)
@click.argument("items", metavar="ITEMS...", nargs=-1)
@click.option(
    "--server", metavar="URL", help="Ask this service of `featx serve`; HEAD is left out then."
)
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), help="File to write: .csv, .jsonl, .parquet."
)
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMS),
    help="[default: by the suffix of the file; on stdout table on a terminal, else csv]",
)
@click.option(
    "--unsafe-pickle",
    is_flag=True,
    help="Load HEAD from a .joblib file, which runs the code that is in it.",
)
@o.column_options
@o.device_option
@o.threads_option
@o.json_option
@click.pass_context
def predict(
    ctx: click.Context,
    /,
    head: str | None,
    items: tuple[str, ...],
    server: str | None,
    out: Path | None,
    form: str | None,
    unsafe_pickle: bool,
    device: str,
    threads: int | None,
    as_json: bool,
    **columns: str | None,
) -> None:
    """Predict labels of files or of an embedding set.

    HEAD is what `featx train` wrote, or a .skops or .joblib file of `featx export`.  ITEMS is
    what `featx embed` takes, or one embedding set; for a text model also texts themselves.

    Gives id, label, probability, the set of labels that holds the true one of about 90 % of items
    like those trained on ("none fits" where it is empty), and whether the item is unlike
    everything trained on.  A head of tags gives tags and their probabilities, a regressor values
    and intervals.  --json is --format jsonl.

    With --server URL nothing is loaded here; what is served may be a gallery too.  An API key is
    taken from FEATX_API_KEY.
    """
    if head is None:
        raise _missing(ctx, "ITEMS" if server else "HEAD")
    chosen = choose_form("jsonl" if as_json else form, out, is_terminal=sys.stdout.isatty())
    if out is not None:
        o.require_apart(out, head, *items)
    if server is not None:
        shape, windows = _by_service(ctx, server, (head, *items), columns)
    elif not items:
        raise _missing(ctx, "ITEMS")
    else:
        loaded = _load(Path(head), unsafe_pickle=unsafe_pickle)
        shape = loaded
        windows = _by_head(loaded, items, device=device, threads=threads, columns=columns)
    done, problems = _write(shape, windows, chosen, out)
    if out is not None:
        o.say(f"{out}: {done:,} items")
    if problems:
        ctx.exit(3 if done else 1)


def _missing(ctx: click.Context, name: str) -> click.MissingParameter:
    return click.MissingParameter(ctx=ctx, param_hint=f"'{name}'", param_type="argument")


def _load(path: Path, *, unsafe_pickle: bool) -> "Head":
    """Return a head, from our own kind of file or from an exported one."""
    from featx.export import FORMATS
    from featx.heads.headfile import load_head

    if path.suffix[1:] not in FORMATS:
        return load_head(path)
    from featx.export.files import load_portable

    return load_portable(path, unsafe_pickle=unsafe_pickle)


def _refuse_local(ctx: click.Context) -> None:
    """Refuse options that say how a head runs here."""
    for name in ("device", "threads", "unsafe_pickle"):
        if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            option = f"--{name.replace('_', '-')}"
            ctx.fail(f"{option} is for a head that runs here; leave it out, or --server")


def _names_head(item: str) -> bool:
    """Return whether an item is the path of a head, ours or exported."""
    from featx.export import FORMATS

    suffixes = {".head", *(f".{form}" for form in FORMATS)}
    return not any(map(str.isspace, item)) and Path(item).suffix in suffixes


def _by_service(
    ctx: click.Context, url: str, items: Sequence[str], columns: dict[str, str | None]
) -> tuple[Shape, Iterator[Told]]:
    from featx.cli.queries import is_set
    from featx.cli.served import Served, windows_of_items, windows_of_set
    from featx.client import Client
    from featx.errors import ServerError

    _refuse_local(ctx)
    if _names_head(items[0]):
        ctx.fail(f"{items[0]}: is a head; leave HEAD out with --server")
    client = ctx.with_resource(Client(url))
    try:
        facts = client.model()
    except ServerError as error:
        if error.status != UNAUTHORIZED:
            raise
        message = f"{error}; FEATX_API_KEY holds the key that is sent"
        raise ServerError(message, status=error.status, code=error.code) from error
    served = Served(url=url, facts=facts)
    if is_set(items):
        return served, windows_of_set(client, served, Path(items[0]))
    return served, windows_of_items(client, served, items, o.columns(columns))


def _by_head(
    head: "Head",
    items: Sequence[str],
    *,
    device: str,
    threads: int | None,
    columns: dict[str, str | None],
) -> Iterator[Told]:
    from featx.cli.queries import is_set

    if is_set(items):
        windows = _of_set(head, Path(items[0]))
    else:
        windows = _of_items(head, items, device=device, threads=threads, columns=columns)
    return (Told(describe(head, each.ids, each.X), each.problems) for each in windows)


def _write(
    shape: Shape, windows: Iterable[Told], form: str, out: Path | None
) -> tuple[int, list[tuple[str, str]]]:
    """Write what is said of all windows; return how many items, and what was skipped."""
    from featx.errors import InputError

    done, problems = 0, []
    with writing_rows(shape, form, out) as write:
        for window in windows:
            if window.rows:
                write(window.rows)
            done += len(window.rows)
            for item_id, problem in window.problems:
                o.say(f"skipped {item_id}: {problem}")
            problems += window.problems
        if out is not None and problems and not done:
            message = f"{out}: not written, since no item could be read"
            raise InputError(message)
        if not problems and not done:
            write([])
    return done, problems


def _of_set(head: "Head", path: Path) -> Iterator["Encoded"]:
    import numpy as np

    from featx.cli.queries import WINDOW_ITEMS, Encoded
    from featx.data.finite import require_finite

    opened = o.open_set(path)
    _check_space(head, str(path), opened.manifest["model"])
    ids = opened.ids
    for start in range(0, len(ids), WINDOW_ITEMS):
        stop = start + WINDOW_ITEMS
        X = np.asarray(opened.X[start:stop])
        require_finite(opened, X)
        yield Encoded(ids[start:stop], X, [])


def _of_items(
    head: "Head",
    items: Sequence[str],
    *,
    device: str,
    threads: int | None,
    columns: dict[str, str | None],
) -> Iterator["Encoded"]:
    from featx.cli.queries import encode
    from featx.data.opening import open_backbone_of

    settings = o.settings(o.cache_place(), device=device, threads=threads)
    backbone = open_backbone_of(head.header, head.dim, settings, say=o.say)
    _check_space(head, backbone.manifest.name, backbone.facts)
    return encode(items, backbone, o.columns(columns))


def _check_space(head: "Head", where: str, made: Mapping[str, Any]) -> None:
    """Apply the rule of spaces to vectors of a head, by what made them."""
    from featx.data.space import Made
    from featx.heads.predict import check_space

    told = Made.of(made)
    if note := check_space(head, made["fingerprint"], told.space, where=where, made=told):
        o.say(f"note: {note}")
