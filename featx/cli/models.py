"""``featx models``."""

import json
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import click

from featx.cli import options as o
from featx.cli.models_add import add
from featx.cli.models_cuts import cuts
from featx.cli.models_pull import pull
from featx.cli.models_remove import remove
from featx.cli.terminal import harmless
from featx.errors import FeatxError

if TYPE_CHECKING:
    from featx.zoo.manifest import Manifest

SHORT = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What was found of one backbone.

    Attributes
    ----------
    name : str
    problems : tuple of str
        Empty if all is as it should be.
    waits : bool
        Whether its files are not on this machine, and can be fetched.
    files : int
        Files whose size and sha256 are right.
    golden_items : int
        Golden items that were encoded; 0 if none were asked for, or there are none.
    min_cosine : float or None
        Least cosine of an encoded golden item to its reference.
    """

    name: str
    problems: tuple[str, ...] = ()
    waits: bool = False
    files: int = 0
    golden_items: int = 0
    min_cosine: float | None = None


@click.group()
def models() -> None:
    """List, add, fetch, verify and remove backbones."""


for command in (add, cuts, pull, remove):
    models.add_command(command)


@models.command("list")
@o.json_option
@click.pass_context
def list_models(ctx: click.Context, /, as_json: bool) -> None:
    """List the backbones that can be used."""
    from featx.zoo import catalog

    found: list[Manifest] = []
    broken = 0
    for name in catalog.names():
        try:
            found.append(catalog.find(name))
        except FeatxError as error:
            broken += 1
            o.say(f"skipped {error}")
    if as_json:
        o.print_json({"models": [_summary(manifest) for manifest in found]})
    else:
        rows = [[_readable(value) for value in _summary(each).values()] for each in found]
        o.print_table(["name", "modality", "dim", "bytes", "here", "license", "summary"], rows)
    if broken:
        ctx.exit(3)


def _summary(manifest: "Manifest") -> dict[str, object]:
    from featx.zoo import catalog

    return {
        "name": manifest.name,
        "modality": manifest.modality,
        "dim": manifest.dim,
        "size_bytes": sum(entry.size_bytes for entry in manifest.files.values()),
        "here": catalog.is_here(manifest),
        "license": manifest.license,
        "summary": manifest.summary,
    }


@models.command()
@click.argument("name")
@o.json_option
def info(name: str, as_json: bool) -> None:
    """Show a backbone's card, and all that defines it.

    NAME is a name of `featx models list`, or the path of a manifest.
    """
    from featx.backbone.backbone import Backbone
    from featx.onboard.check.card import card
    from featx.zoo import catalog

    manifest = catalog.find(name)
    backbone = Backbone(manifest)
    facts = asdict(manifest) | {"fingerprint": backbone.fingerprint, "space": backbone.space}
    if as_json:
        facts["card"] = card(manifest)
        o.print_json(json.loads(json.dumps(facts, default=str)))
        return
    for key, value in card(manifest).items():
        click.echo(f"{key + ':':<14}{harmless(str(value))}")
    click.echo()
    facts |= {key: f"{facts[key][:SHORT]}..." for key in ("fingerprint", "space")}
    for key, value in facts.items():
        if value not in ("", None, (), {}):
            text = _readable(value)
            click.echo(f"{key}:{text}" if text.startswith("\n") else f"{key + ':':<14}{text}")


def _readable(value: object) -> str:
    """Return a value for people; a table within it is indented below its key."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return harmless(", ".join(map(str, value)))
    if isinstance(value, dict):
        kept = {key: item for key, item in value.items() if item not in ("", None, (), {})}
        return "".join(f"\n  {harmless(key)}: {_inline(item)}" for key, item in kept.items())
    return harmless(str(value))


def _inline(value: object) -> str:
    if isinstance(value, dict):
        found = (f"{key} {item}" for key, item in value.items() if item != "")
        return harmless(", ".join(found))
    return _readable(value)


@models.command()
@click.argument("name", required=False)
@click.option("--all", "everything", is_flag=True, help="All backbones, as without a NAME.")
@o.device_option
@o.threads_option
@o.json_option
@click.pass_context
def verify(
    ctx: click.Context,
    /,
    name: str | None,
    everything: bool,
    device: str,
    threads: int | None,
    as_json: bool,
) -> None:
    """Check that files and vectors are what their manifests say.

    Of one backbone or of all: the size and sha256 of each file, and the cosine of each golden
    item to the vector that was kept of it when the backbone was added: that of the original
    weights where it was compared with them, else its own.  Of all, those that were not fetched yet
    are left out.
    """
    from featx.zoo import catalog

    if name and everything:
        raise click.UsageError("a NAME and --all exclude each other")
    results = [
        verified(each, golden=True, device=device, threads=threads)
        for each in ([name] if name else catalog.names())
    ]
    for result in [result for result in results if result.waits and not name]:
        o.say(f"{result.name}: not fetched yet; run: featx models pull {result.name}")
        results.remove(result)
    if as_json:
        o.print_json({"models": [asdict(r) | {"ok": not r.problems} for r in results]})
    else:
        for result in results:
            click.echo(describe(result))
    if any(result.problems for result in results):
        ctx.exit(1)


def verified(
    name: str, *, golden: bool, device: str = "auto", threads: int | None = None
) -> Verification:
    """Check the files of a backbone and, if `golden`, its vectors; problems are returned."""
    from featx.zoo import catalog

    try:
        manifest = catalog.find(name)
    except FeatxError as error:
        return Verification(name=name, problems=(str(error),))
    if not catalog.is_here(manifest) and catalog.can_be_pulled(manifest):
        problem = f"not on this machine; run: featx models pull {manifest.name}"
        return Verification(name=manifest.name, problems=(problem,), waits=True)
    checks = catalog.check_files(manifest)
    problems = tuple(f"{check.path}: {check.problem}" for check in checks if check.problem)
    if problems or not golden or not catalog.golden_file(manifest).is_file():
        right = sum(not check.problem for check in checks)
        return Verification(name=manifest.name, problems=problems, files=right)
    return _compared(manifest, files=len(checks), device=device, threads=threads)


def _compared(
    manifest: "Manifest", *, files: int, device: str, threads: int | None
) -> Verification:
    from featx.backbone.backbone import Backbone
    from featx.backbone.golden import LEAST_COSINE, golden_cosines

    try:
        cosines = golden_cosines(Backbone(manifest, o.settings(device=device, threads=threads)))
    except FeatxError as error:
        return Verification(name=manifest.name, problems=(str(error),), files=files)
    least = float(cosines.min())
    message = (
        f"golden item {int(cosines.argmin())}: cosine {least:.7f}; "
        f"expected at least {LEAST_COSINE:.5f}"
    )
    return Verification(
        name=manifest.name,
        problems=() if least >= LEAST_COSINE else (message,),
        files=files,
        golden_items=len(cosines),
        min_cosine=least if math.isfinite(least) else None,
    )


def describe(result: Verification) -> str:
    """Return one line about a backbone that is right, and a line a problem otherwise."""
    if result.problems:
        found = (f"{result.name}: WRONG: {problem}" for problem in result.problems)
        return "\n".join(map(harmless, found))
    line = f"{result.name}: ok, {result.files} {'file' if result.files == 1 else 'files'} right"
    if result.min_cosine is None:
        return f"{line}, no vectors compared"
    return f"{line}, {result.golden_items} golden items, least cosine {result.min_cosine:.7f}"
