"""Options that several commands share, and how results and progress are shown."""

import json
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from featx.cli.localpath import LocalPath
from featx.cli.terminal import harmless

if TYPE_CHECKING:
    from featx.backbone.backbone import Backbone
    from featx.backbone.settings import Settings
    from featx.data.sources.columns import Columns
    from featx.data.store import EmbeddingSet
    from featx.zoo.manifest import Adjustments, Precision

MEASURES = (
    "balanced_accuracy", "macro_f1", "mean_average_precision", "hamming_loss", "log_loss",
    "calibration_error", "set_coverage", "set_size", "mae", "rmse", "spearman",
    "interval_coverage", "interval_width",
)  # fmt: skip
"""What is shown of a head besides its headline, in this order."""

# As wide as the longest name, mean average precision.
_NAME_WIDTH = 22

F = TypeVar("F", bound=Callable[..., Any])

MOST_DIGITS = 18


class NumberOr(click.ParamType[int | None]):
    """A number from 1 up, or a word that stands for None or another number.

    Parameters
    ----------
    word : str
    name : str
        What help calls the value.
    stands_for : int or None
        What the word means.
    most : int or None
        The largest number; None for any.
    """

    def __init__(
        self, word: str, name: str, *, stands_for: int | None = None, most: int | None = None
    ) -> None:
        self.name = name
        self._word, self._stands_for, self._most = word, stands_for, most

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | None:
        """Return the number, or what the word stands for."""
        text = str(value)
        if text == self._word:
            return self._stands_for
        # Thousands of digits are no number that Python would read.
        is_whole = text.isdecimal() and len(text) <= MOST_DIGITS
        if not is_whole or not 1 <= int(text) <= (self._most or int(text)):
            numbers = f"1 to {self._most}" if self._most else "1 or more"
            self.fail(f"{value!r}: expected {self._word}, or a number of {numbers}", param, ctx)
        return int(text)


def device_option(command: F) -> F:
    """Add ``--device``."""
    return click.option(
        "--device",
        default="auto",
        show_default=True,
        envvar="FEATX_DEVICE",
        help="auto, cpu, cuda or cuda:N.",
    )(command)


def address_option(command: F) -> F:
    """Add ``--address``."""
    return click.option(
        "--address",
        metavar="HOST:PORT",
        help="Of a Ray cluster, or auto.  [default: RAY_ADDRESS, else one on this machine]",
    )(command)


def threads_option(command: F) -> F:
    """Add ``--threads``."""
    return click.option(
        "--threads",
        type=click.IntRange(min=1),
        envvar="FEATX_THREADS",
        help="Threads of the CPU session.  [default: all cores]",
    )(command)


def engine_options(command: F) -> F:
    """Add ``--precision`` and its siblings: how an embedding run uses the machine."""
    for option in [
        click.option("--stats", is_flag=True, help="Say where the time went, and what to change."),
        click.option(
            "--loaders",
            type=click.IntRange(min=1),
            envvar="FEATX_LOADERS",
            help="Threads that read and decode.  [default: half the cores, 2 to 8]",
        ),
        click.option(
            "--batch-size",
            type=NumberOr("auto", "batch size"),
            default="auto",
            show_default=True,
            help="Tokens a batch for texts, items for others; auto measures once and remembers.",
        ),
        click.option(
            "--deterministic",
            is_flag=True,
            help="Vectors with the same bits whatever else is embedded; slower.",
        ),
        click.option(
            "--precision",
            type=click.Choice(["fp32", "fp16", "int8"]),
            help="Of the computation.  [default: the model's own, fp32 in the zoo]",
        ),
    ]:
        command = option(command)
    return command


def _keep_copies(
    ctx: click.Context, param: click.Parameter, value: "Path | bool | None"
) -> "Path | bool | None":
    """Keep copies of what lies at URLs where the cache is to be, or nowhere without one."""
    from featx.data.places.keeping import using

    if value is True:
        ctx.with_resource(using(None))
    elif isinstance(value, Path) and not ctx.params.get("no_cache"):
        ctx.with_resource(using(value))
    return value


def cache_options(command: F) -> F:
    """Add ``--cache-dir`` and ``--no-cache``."""
    command = click.option(
        "--no-cache",
        is_flag=True,
        callback=_keep_copies,
        envvar="FEATX_NO_CACHE",
        help="Leave the user-wide cache alone.",
    )(command)
    return click.option(
        "--cache-dir",
        type=LocalPath(path_type=Path, file_okay=False),
        callback=_keep_copies,
        envvar="FEATX_CACHE_DIR",
        help="Place of the user-wide cache.  [default: ~/.cache/featx]",
    )(command)


class Size(click.ParamType[int]):
    """A number of bytes written for people, such as ``500MB``."""

    name = "size"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Return the bytes."""
        from featx.data.cache import size_in_bytes
        from featx.errors import InputError

        try:
            return value if isinstance(value, int) else size_in_bytes(str(value))
        except InputError as cause:
            self.fail(str(cause), param, ctx)


def max_size_option(command: F) -> F:
    """Add ``--max-size``."""
    return click.option(
        "--max-size",
        type=Size(),
        default="8GiB",
        show_default=True,
        help="Largest file that is fetched.",
    )(command)


def seed_option(command: F) -> F:
    """Add ``--seed``."""
    return click.option(
        "--seed",
        type=click.IntRange(0, 2**32 - 1),  # what NumPy and scikit-learn both take
        default=0,
        show_default=True,
        envvar="FEATX_SEED",
        help="Seed of every shuffle.",
    )(command)


def json_option(command: F) -> F:
    """Add ``--json``."""
    return click.option(
        "--json", "as_json", is_flag=True, envvar="FEATX_JSON", help="Print JSON on stdout."
    )(command)


def quiet_option(command: F) -> F:
    """Add ``--quiet``."""
    return click.option(
        "--quiet", "-q", is_flag=True, envvar="FEATX_QUIET", help="No progress, only results."
    )(command)


def column_options(command: F) -> F:
    """Add ``--text-col`` and its siblings."""
    for name, what in [
        ("split", "train, val or test"),
        ("id", "ids, one each row"),
        ("label", "labels"),
        ("audio", "paths of sounds"),
        ("image", "paths of images"),
        ("text", "texts"),
    ]:
        command = click.option(f"--{name}-col", metavar="NAME", help=f"Column of {what}.")(command)
    return command


def columns(chosen: dict[str, str | None]) -> "Columns":
    """Return the columns that were chosen on the command line."""
    from featx.data.sources.columns import Columns

    return Columns(**chosen)


def cache_place(cache_dir: Path | None = None, no_cache: bool = False) -> Path | None:
    """Return the cache's folder, or None without one."""
    from featx.data.cachefolder import cache_folder

    return None if no_cache else cache_folder(cache_dir)


def command_line(words: Sequence[str] | None = None) -> str:
    """Return the command as it was typed, or of other words, for the record."""
    return shlex.join(["featx", *(sys.argv[1:] if words is None else words)])


def settings(
    cache: Path | None = None,
    *,
    device: str = "auto",
    threads: int | None = None,
    precision: str | None = None,
    deterministic: bool = False,
    budget: int | None = None,
) -> "Settings":
    """Return how a backbone is to run; graphs that are made for it are kept in the cache."""
    from featx.backbone.settings import Settings

    return Settings(
        device=device,
        threads=threads,
        precision=cast("Precision | None", precision),
        deterministic=deterministic,
        budget=budget,
        cache=cache,
    )


def open_backbone(
    model: str,
    chosen: "Settings",
    *,
    prompt: str = "",
    dim: int | None = None,
    adjusted: "Adjustments | None" = None,
) -> "Backbone":
    """Open a backbone whose files are right and which works on this machine."""
    from featx.data import opening

    return opening.open_backbone(model, chosen, prompt=prompt, dim=dim, adjusted=adjusted, say=say)


def open_set(path: Path) -> "EmbeddingSet":
    """Open an embedding set, and say so if its last run did not come to its end."""
    from featx.data.store import EmbeddingSet

    opened = EmbeddingSet.open(path)
    if not opened.finished:
        found = f"{opened.where} is unfinished, {len(opened):,} items"
        say(f"note: {found}; run its embed command again")
    return opened


def require_apart(out: Path, *others: str | Path) -> None:
    """Raise before what is read would be replaced by what is written."""
    from featx.errors import InputError

    for other in others:
        try:
            is_same = out.exists() and Path(other).exists() and out.samefile(other)
        except OSError:  # a text that is longer than a path may be
            continue
        if is_same:
            message = f"{out}: is read by this command; choose another name for what it writes"
            raise InputError(message)


def print_json(document: object) -> None:
    """Print one JSON object on one line of stdout."""
    click.echo(printable(json.dumps(document, ensure_ascii=False, allow_nan=False)))


def printable(text: str) -> str:
    """Return a text in which a file name that is not UTF-8 has escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def counted(n: int, noun: str) -> str:
    """Return a number with what it counts: ``1 item``, ``2,000 items``."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def say(message: str) -> None:
    """Print a line for people on stderr."""
    click.echo(harmless(message), err=True)


def print_table(header: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """Print aligned columns; numbers to the right."""
    cells = [[harmless(str(cell)) for cell in row] for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for number, row in enumerate(cells):
        texts = [
            cell.rjust(width) if number and _is_number(cell) else cell.ljust(width)
            for cell, width in zip(row, widths, strict=True)
        ]
        click.echo("  ".join(texts).rstrip())


def print_measures(found: Mapping[str, Any], headline: str) -> None:
    """Print how good a head is: its headline with the baselines, then what else was measured."""
    low, high = found["interval"]
    own = "accuracy" if headline == "micro_f1" else headline
    print_measure(own, f"{found[own]:.3f}  [{low:.3f}, {high:.3f}]  n={found['n']:,}")
    if own != headline:
        print_measure(headline, f"{found[headline]:.3f}")
    for name, value in found["baselines"].items():
        print_measure(f"  {name}", f"{value:.3f}")
    for name in MEASURES:
        if name in found and name != headline:
            print_measure(name, _measure(found, name))


def print_measure(name: str, value: str) -> None:
    """Print one measure of a head, below the others."""
    click.echo(f"{_words(name):<{_NAME_WIDTH}} {value}")


def _words(name: str) -> str:
    return name.replace("_", " ")


def _measure(found: Mapping[str, Any], name: str) -> str:
    value = "-" if found[name] is None else f"{found[name]:.3f}"
    if name == "calibration_error":
        mean, high = found["calibration_band"]
        return f"{value}  (perfectly calibrated: {mean:.3f}, 95 % below {high:.3f})"
    if name == "set_size":
        return f"{value}  ({found['empty_sets']:.1%} none fits)"
    return value


def _is_number(cell: str) -> bool:
    # A dot or a dash stands for a number that there is none of.
    digits = cell.replace(".", "", 1).replace(",", "").replace("-", "", 1)
    return digits.isdigit() or cell in {".", "-"}
