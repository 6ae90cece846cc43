"""``featx predict``."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from featx.cli import options as o

if TYPE_CHECKING:
    from featx.cli.queries import Encoded
    from featx.heads.predict import Head


@click.command()
@click.argument("head", type=click.Path(path_type=Path))
@click.argument("items", nargs=-1, required=True)
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
    device: str,
    threads: int | None,
    as_json: bool,
    **columns: str | None,
) -> None:
    """Predict labels of files or of an embedding set.

    ITEMS is what `featx embed` takes, or one embedding set; for a text model also texts
    themselves.  Prints id, label, probability and the set of labels that holds the true one for
    about 90 % of items like those trained on.  With --json one object a line.
    """
    from featx.cli.queries import is_set
    from featx.heads.headfile import load_head

    loaded = load_head(head)
    if is_set(items):
        windows = _of_set(loaded, Path(items[0]))
    else:
        windows = _of_items(loaded, items, device=device, threads=threads, columns=columns)
    done, problems = 0, []
    for window in windows:
        _show(loaded, window, as_json=as_json)
        done += len(window.ids)
        problems += window.problems
    for item_id, problem in problems:
        o.say(f"skipped {item_id}: {problem}")
    if problems:
        ctx.exit(3 if done else 1)


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


def _show(head: "Head", window: "Encoded", *, as_json: bool) -> None:
    if not window.ids:
        return
    for item_id, found in zip(window.ids, head.predict(window.X), strict=True):
        if as_json:
            o.print_json(
                {
                    "id": item_id,
                    "label": found.label,
                    "probability": round(found.probability, 6),
                    "set": list(found.set),
                }
            )
        else:
            others = ", ".join(found.set)
            click.echo(f"{item_id}\t{found.label}\t{found.probability:.3f}\t{{{others}}}")
