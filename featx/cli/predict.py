"""``featx predict``."""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from featx.cli import options as o
from featx.cli.localpath import LocalPath, local_path
from featx.cli.predictions import FORMS, Shape, Told, choose_form, describe, writing_rows
from featx.cli.urlarguments import ItemOrSet

if TYPE_CHECKING:
    from featx.backbone.backbone import Backbone
    from featx.backbone.settings import Settings
    from featx.cli.queries import Encoded
    from featx.export.deployable import Deployable
    from featx.heads.predict import Head

UNAUTHORIZED = 401


@click.command()
@click.argument("head", metavar="[HEAD]", required=False)
@click.argument("items", metavar="ITEMS...", nargs=-1, type=ItemOrSet())
@click.option(
    "--server", metavar="URL", help="Ask this service of `featx serve`; HEAD is left out then."
)
@click.option(
    "-o", "--out", type=LocalPath(path_type=Path), help="File to write: .csv, .jsonl, .parquet."
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

    HEAD is what `featx train` wrote, or a file of `featx export`: .onnx, .skops or .joblib.  ITEMS
    is what `featx embed` takes, or one embedding set; for a text model also texts themselves.

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
        settings = o.settings(o.cache_place(), device=device, threads=threads)
        loaded = _load(Path(local_path(head)), settings, unsafe_pickle=unsafe_pickle)
        shape = loaded.head
        windows = _by_head(loaded, items, settings, columns)
    done, problems = _write(shape, windows, chosen, out)
    if out is not None:
        o.say(f"{out}: {done:,} items")
    if problems:
        ctx.exit(3 if done else 1)


def _missing(ctx: click.Context, name: str) -> click.MissingParameter:
    return click.MissingParameter(ctx=ctx, param_hint=f"'{name}'", param_type="argument")


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A head of a file, and what an ONNX file holds besides."""

    path: Path
    head: "Head"
    file: "Deployable | None" = None

    def backbone(self, settings: "Settings") -> "Backbone":
        """Return what makes vectors for the head: the file itself, or a backbone of the zoo."""
        from featx.data.opening import open_backbone_of

        if self.file is not None and self.file.is_whole:
            return self.file.backbone
        head = self.head
        backbone = open_backbone_of(head.header, head.dim, settings, beside=self.path, say=o.say)
        _check_space(head, backbone.manifest.name, backbone.facts)
        return backbone


def _load(path: Path, settings: "Settings", *, unsafe_pickle: bool) -> _Loaded:
    """Return a head, from our own kind of file or from an exported one."""
    from featx.export import DEPLOYABLE, FORMATS

    if path.suffix == f".{DEPLOYABLE}":
        from featx.export.deployable import open_deployable

        file = open_deployable(path, settings, say=o.say)
        return _Loaded(path, file.head, file)
    if path.suffix[1:] in FORMATS:
        from featx.export.files import load_portable

        return _Loaded(path, load_portable(path, unsafe_pickle=unsafe_pickle))
    from featx.heads.headfile import load_head

    return _Loaded(path, load_head(path))


def _refuse_local(ctx: click.Context) -> None:
    """Refuse options that say how a head runs here."""
    for name in ("device", "threads", "unsafe_pickle"):
        if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            option = f"--{name.replace('_', '-')}"
            ctx.fail(f"{option} is for a head that runs here; leave it out, or --server")


def _names_head(item: str) -> bool:
    """Return whether an item is the path of a head, ours or exported."""
    from featx.export import DEPLOYABLE, FORMATS

    suffixes = {".head", *(f".{form}" for form in (DEPLOYABLE, *FORMATS))}
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
    loaded: _Loaded, items: Sequence[str], settings: "Settings", columns: dict[str, str | None]
) -> Iterator[Told]:
    from featx.cli.queries import encode, is_set

    if is_set(items):
        windows = _of_set(loaded.head, Path(items[0]))
    else:
        windows = encode(items, loaded.backbone(settings), o.columns(columns))
    return (Told(describe(loaded.head, each.ids, each.X), each.problems) for each in windows)


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


def _check_space(head: "Head", where: str, made: Mapping[str, Any]) -> None:
    """Apply the rule of spaces to vectors of a head, by what made them."""
    from featx.data.space import Made
    from featx.heads.predict import check_space

    told = Made.of(made)
    if note := check_space(head, made["fingerprint"], told.space, where=where, made=told):
        o.say(f"note: {note}")
