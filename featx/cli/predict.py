"""``featx predict``."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from featx.cli import options as o
from featx.cli.predictions import FORMS, choose_form, describe, writing_rows

if TYPE_CHECKING:
    from featx.cli.queries import Encoded
    from featx.heads.predict import Head


@click.command()
@click.argument("head", type=click.Path(path_type=Path))
@click.argument("items", nargs=-1, required=True)
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
    head: Path,
    items: tuple[str, ...],
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
    """
    from featx.cli.queries import is_set

    chosen = choose_form("jsonl" if as_json else form, out, is_terminal=sys.stdout.isatty())
    if out is not None:
        o.require_apart(out, head, *items)
    loaded = _load(head, unsafe_pickle=unsafe_pickle)
    if is_set(items):
        windows = _of_set(loaded, Path(items[0]))
    else:
        windows = _of_items(loaded, items, device=device, threads=threads, columns=columns)
    done, problems = _write(loaded, windows, chosen, out)
    if out is not None:
        o.say(f"{out}: {done:,} items")
    if problems:
        ctx.exit(3 if done else 1)


def _load(path: Path, *, unsafe_pickle: bool) -> "Head":
    """Return a head, from our own kind of file or from an exported one."""
    from featx.export import FORMATS
    from featx.heads.headfile import load_head

    if path.suffix[1:] not in FORMATS:
        return load_head(path)
    from featx.export.files import load_portable

    return load_portable(path, unsafe_pickle=unsafe_pickle)


def _write(
    head: "Head", windows: Iterable["Encoded"], form: str, out: Path | None
) -> tuple[int, list[tuple[str, str]]]:
    """Write what the head says of all windows; return how many items, and what was skipped."""
    from featx.errors import InputError

    done, problems = 0, []
    with writing_rows(head, form, out) as write:
        for window in windows:
            if window.ids:
                write(describe(head, window.ids, window.X))
            done += len(window.ids)
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
    from featx.heads.predict import check_space

    opened = o.open_set(path)
    if note := check_space(head, opened.fingerprint, opened.space):
        o.say(f"note: {note}")
    ids = opened.ids
    for start in range(0, len(ids), WINDOW_ITEMS):
        stop = start + WINDOW_ITEMS
        yield Encoded(ids[start:stop], np.asarray(opened.X[start:stop]), [])


def _of_items(
    head: "Head",
    items: Sequence[str],
    *,
    device: str,
    threads: int | None,
    columns: dict[str, str | None],
) -> Iterator["Encoded"]:
    from featx.backbone.backbone import Backbone, identity
    from featx.cli.queries import encode
    from featx.heads.predict import check_space

    model = head.header["model"]
    if model == "identity":
        backbone = Backbone(identity(head.dim))
    else:
        backbone = o.open_backbone(
            model,
            o.settings(o.cache_place(), device=device, threads=threads),
            prompt=head.header.get("prompt", ""),
            dim=head.dim,
        )
    if note := check_space(head, backbone.fingerprint, backbone.space):
        o.say(f"note: {note}")
    return encode(items, backbone, o.columns(columns))
