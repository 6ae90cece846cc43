"""``featx index duplicates``."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from featx.cli import options as o
from featx.cli.answers import cells
from featx.cli.localpath import LocalPath

if TYPE_CHECKING:
    from featx.gallery.gallery import Gallery, Neighbour

_BLOCK_ROWS = 65_536


@click.command()
@click.argument("gallery", type=LocalPath(path_type=Path))
@click.option(
    "--against",
    metavar="SET|X.knn",
    type=LocalPath(path_type=Path),
    help="List items of this set or gallery that GALLERY holds too.",
)
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.98,
    show_default=True,
    help="Cosine from which two items count as nearly the same.",
)
@o.json_option
def duplicates(gallery: Path, against: Path | None, threshold: float, as_json: bool) -> None:
    """List items that are the same or nearly so, or leaks between two sets.

    Items are in one group if a chain of similar pairs leads from one to the other; the largest
    group comes first.  The similarity of an item is that to the nearest of its group.  Groups
    whose labels differ are marked: one of them is wrong, or the classes overlap.

    With --against: test items that GALLERY, made of training items, holds already.

    \b
    --json prints one object:
      {"groups": [{"items": [{"id", "label", "similarity"}, ...], "labels_differ": false}, ...]}
      {"leaks": [{"id", "label", "gallery_id", "gallery_label", "similarity"}, ...]}
    """  # noqa: D301 - click wants the control character
    from featx.gallery.gallery import Gallery

    with Gallery.open(gallery) as opened:
        if against is None:
            groups = _groups(opened, threshold)
            if as_json:
                o.print_json({"groups": [_group_facts(group) for group in groups]})
            else:
                _show_groups(groups, threshold)
        else:
            leaks = list(_leaks(opened, against, threshold))
            if as_json:
                o.print_json({"leaks": leaks})
            else:
                _show_leaks(leaks, against, gallery, threshold)


def _groups(gallery: "Gallery", threshold: float) -> list["list[Neighbour]"]:
    """Return the items of each group, the largest first."""
    from featx.evaluate.galleryduplicates import gallery_duplicates, nearest_within

    held = gallery.snapshot
    clusters = gallery_duplicates(held, threshold=threshold).clusters()
    return [held.describe(rows, nearest_within(held, rows)[1].astype("f4")) for rows in clusters]


def _labels(group: "Sequence[Neighbour]") -> Counter[str]:
    return Counter(found.label for found in group if found.label is not None)


def _group_facts(group: "Sequence[Neighbour]") -> dict[str, Any]:
    items = [
        {"id": found.id, "label": found.label, "similarity": found.similarity} for found in group
    ]
    return {"items": items, "labels_differ": len(_labels(group)) > 1}


def _show_groups(groups: "Sequence[Sequence[Neighbour]]", threshold: float) -> None:
    if not groups:
        click.echo(f"no two items have a cosine of {threshold:g} or more")
        return
    differing = sum(len(_labels(group)) > 1 for group in groups)
    marked = f"; labels differ in {differing:,} of them" if differing else ""
    count = sum(map(len, groups))
    click.echo(f"{count:,} items in {len(groups):,} groups of cosine {threshold:g} or more{marked}")
    for number, group in enumerate(groups, 1):
        labels = _labels(group)
        differ = ", ".join(f"{label} {n:,}" for label, n in labels.most_common())
        note = f"; labels differ: {differ}" if len(labels) > 1 else ""
        click.echo(f"\ngroup {number}: {len(group):,} items{note}")
        o.print_table(
            ["similarity", "label", "id", ""],
            [cells(found, f"{found.similarity:.4f}") for found in group],
        )


def _leaks(gallery: "Gallery", against: Path, threshold: float) -> Iterator[dict[str, Any]]:
    """Yield the items of a set or another gallery that a gallery holds too, in order."""
    from featx.evaluate.galleryduplicates import gallery_matches

    held = gallery.snapshot
    for ids, labels, Q in _sides(gallery, against):
        found = gallery_matches(Q, held, threshold=threshold)
        theirs = held.describe(found.rows, found.similarities.astype("f4"))
        for query, match in zip(found.queries.tolist(), theirs, strict=True):
            yield {
                "id": ids[query],
                "label": labels[query],
                "gallery_id": match.id,
                "gallery_label": match.label,
                "similarity": match.similarity,
            }


Side = tuple[Sequence[str], Sequence[str | None], Any]
"""Ids, labels and vectors, of as many items."""


def _sides(gallery: "Gallery", against: Path) -> Iterator[Side]:
    """Yield the items that may leak: of a set all at once, of a gallery in blocks."""
    from featx.cli.asked import check_space
    from featx.data.finite import require_finite
    from featx.gallery.gallery import Gallery

    if not (against / "gallery.json").is_file():
        embedded = o.open_set(against)
        check_space(gallery, str(against), embedded.manifest["model"])
        require_finite(embedded)
        yield embedded.ids, embedded.y.tolist(), embedded.X
        return
    with Gallery.open(against) as other:
        check_space(gallery, str(against), other.facts | {"name": other.facts["model"]})
        theirs = other.snapshot
        for start in range(0, len(theirs.rows), _BLOCK_ROWS):
            rows = theirs.rows[start : start + _BLOCK_ROWS]
            items = theirs.describe(rows)
            yield [i.id for i in items], [i.label for i in items], theirs.vectors(rows)


def _show_leaks(
    leaks: Sequence[dict[str, Any]], against: Path, gallery: Path, threshold: float
) -> None:
    if not leaks:
        click.echo(f"no item of {against} has a cosine of {threshold:g} or more to {gallery}")
        return
    click.echo(f"{len(leaks):,} items of {against} are in {gallery} too, or nearly")
    o.print_table(
        ["similarity", "id", "label", "in the gallery", "label"],
        [
            (
                f"{leak['similarity']:.4f}",
                leak["id"],
                leak["label"] or "-",
                leak["gallery_id"],
                leak["gallery_label"] or "-",
            )
            for leak in leaks
        ],
    )
