"""An embedding run, as the command line shows it: a bar while it goes on, then what came of it."""

import gc
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import click

from featx.cli import options as o

if TYPE_CHECKING:
    from collections.abc import Iterator

    from featx.backbone.timings import Timings
    from featx.data.sources.options import DescribedSource
    from featx.embedding import Progress


class Embedding(Protocol):
    """A `featx.embedding.Run` or a `featx.scale.ScaledRun`."""

    source: "DescribedSource"
    out: Any
    timings: "Timings"
    notes: list[str]
    removed: int

    def steps(self) -> "Iterator[Progress]":
        """Do the work, and yield how far it is."""
        ...


def run(embedding: Embedding, *, quiet: bool = False) -> "Progress":
    """Embed with a progress bar, drawn only on a terminal."""
    from tqdm import tqdm

    progress = None
    gc.freeze()  # what was imported is never garbage, and is not searched for it again
    hidden = quiet or not sys.stderr.isatty()
    total = len(embedding.source)
    with tqdm(total=total, unit="item", disable=hidden, desc=Path(embedding.out).name) as bar:
        for progress in embedding.steps():
            bar.update(progress.done - bar.n)
            bar.set_postfix(known=progress.kept + progress.cached, errors=progress.errors)
    assert progress is not None
    return progress


def run_and_report(
    embedding: Embedding, *, as_json: bool = False, quiet: bool = False, stats: bool = False
) -> int:
    """Embed, say what came of it, and return the exit code: 3 if items were skipped."""
    started_s = time.perf_counter()
    progress = run(embedding, quiet=quiet)
    seconds = round(time.perf_counter() - started_s, 3)
    _report_problems(embedding, progress)
    if stats and not as_json:
        for line in embedding.timings.report():
            o.say(line)
    if as_json:
        result = _facts(embedding, progress) | {"seconds": seconds, "out": str(embedding.out)}
        o.print_json(result | ({"stats": embedding.timings.facts()} if stats else {}))
    else:
        _print(embedding, progress, seconds)
    return 3 if progress.errors else 0


def _report_problems(embedding: Embedding, progress: "Progress") -> None:
    for item_id, problem in progress.first_errors:
        o.say(f"skipped {item_id}: {problem}")
    if progress.errors > len(progress.first_errors):
        more = progress.errors - len(progress.first_errors)
        o.say(f"... {more:,} more in {embedding.out}/errors.jsonl")
    for note in embedding.notes:
        o.say(f"note: {note}")
    if progress.truncated:
        o.say(f"{progress.truncated:,} items were longer than the model takes, and were cut")


def _facts(embedding: Embedding, progress: "Progress") -> dict[str, Any]:
    return {
        "items": progress.done - progress.errors,
        "embedded": progress.embedded,
        "cached": progress.cached + progress.kept,
        "errors": progress.errors,
        "truncated": progress.truncated,
        "removed": embedding.removed,
    }


def _print(embedding: Embedding, progress: "Progress", seconds: float) -> None:
    done, reused = progress.done - progress.errors, progress.cached + progress.kept
    gone = f", {embedding.removed:,} removed" if embedding.removed else ""
    click.echo(
        f"{embedding.out}: {done:,} items, {progress.embedded:,} embedded, {reused:,} already "
        f"known, {progress.errors:,} skipped{gone}, {seconds:.1f} s"
    )


def show_preview(source: "DescribedSource", *, as_json: bool) -> None:
    """Say what a source holds; no item is read."""
    from dataclasses import asdict

    from featx.data.sources.preview import preview

    found = preview(source)
    if as_json:
        o.print_json(asdict(found))
        return
    others = ", ".join(f"{n:,} {suffix}" for suffix, n in found.skipped_suffixes.items())
    click.echo(f"{found.items:,} items; {found.skipped:,} other files{others and f': {others}'}")
    if found.labels:
        shown = ", ".join(f"{label} {count:,}" for label, count in found.labels.items())
        more = found.classes - len(found.labels)
        click.echo(f"{found.classes:,} labels: {shown}{f' and {more:,} more' if more else ''}")
    if found.splits:
        click.echo("splits: " + ", ".join(f"{name} {n:,}" for name, n in found.splits.items()))
    for item_id in found.first:
        click.echo(f"  {item_id}")
    if found.items > len(found.first):
        click.echo(f"  ... {found.items - len(found.first):,} more")
    for item_id, problem in found.problems:
        o.say(f"would be skipped: {item_id}: {problem}")
    if found.problem_count > len(found.problems):
        o.say(f"... {found.problem_count - len(found.problems):,} more")
