"""``featx index stats``."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from featx.cli import options as o
from featx.cli.localpath import LocalPath

SHOWN_LABELS = 10


@click.command()
@click.argument("gallery", type=LocalPath(path_type=Path))
@o.json_option
def stats(gallery: Path, as_json: bool) -> None:
    """Show what a gallery holds, and what was measured of it.

    Recall, latency and accuracy were measured when the index was built or compacted last.
    """
    from featx.gallery.gallery import Gallery

    with Gallery.open(gallery) as opened:
        found = opened.stats()
    if as_json:
        o.print_json(found | {"out": str(gallery)})
        return
    noun = f"{found['items']:,} items of {found['model']}, {found['dim']} numbers each"
    click.echo(f"{gallery}: {noun}")
    for name, value in _lines(found):
        o.print_measure(name, value)
    if found["fold_error"]:
        o.say(f"note: changes could not be put in order: {found['fold_error']}")


def _lines(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    from featx.cli.index import human_bytes

    yield "labels", _labels(found["classes"], found["items"] - found["labelled"])
    settings = ", ".join(f"{name} {value:,}" for name, value in found["settings"].items())
    yield "index", f"{found['kind']}, {found['metric']}{settings and f' ({settings})'}"
    if found["recall"] is not None:
        yield "recall", f"{found['recall']:.4f}"
        yield "median latency", f"{found['latency_ms']:.3g} ms a query"
    yield "vote", f"k {found['k']}, temperature {found['temperature']:g}"
    if found["accuracy"] is not None:
        yield "leave-one-out accuracy", f"{found['accuracy']:.3f}"
    parts = "part" if found["parts"] == 1 else "parts"
    pending = (
        f"{o.counted(found['pending'], 'change')} in the log" if found["pending"] else "no changes"
    )
    yield "stored", f"{found['parts']} {parts}, {pending}, {_removed(found)}"
    if "servers" in found:
        yield from _servers(found)
        return
    place = "here" if found["standalone"] else "in the embedding set"
    yield "disk", f"{human_bytes(found['disk_bytes'])}; the vectors are {place}"
    yield "index memory", human_bytes(found["index_bytes"])


def _servers(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what is known of a gallery in PostgreSQL."""
    from featx.cli.index import human_bytes

    graph = human_bytes(found["index_bytes"])
    yield (
        "disk",
        f"{human_bytes(found['disk_bytes'])}, {graph} of it the graph ({found['storage']})",
    )
    for place in found["servers"]:
        yield "PostgreSQL", place


def _removed(found: Mapping[str, Any]) -> str:
    """Return how many removed rows are stored: those that compacting drops, then the others."""
    left = found["blanked"]
    more = found["removed"] - left
    counts = [o.counted(more, "removed row")] if more or not left else []
    counts += [f"{o.counted(left, 'removed row')} left in the embedding set"] if left else []
    return ", ".join(counts)


def _labels(counts: Mapping[str, int], unlabelled: int) -> str:
    """Return the largest labels with their counts, and how many more there are."""
    largest = sorted(counts, key=lambda label: (-counts[label], label))[:SHOWN_LABELS]
    shown = [f"{label} {counts[label]:,}" for label in sorted(largest)]
    more = len(counts) - len(largest)
    ends = [f"{more:,} labels more"] if more else []
    ends += [f"none {unlabelled:,}"] if unlabelled else []
    return ", ".join([*shown, *ends])
