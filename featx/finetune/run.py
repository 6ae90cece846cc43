"""From a labelled source to a tuned backbone with its head, or to a head on the frozen one."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from featx.backbone.backbone import Backbone
from featx.backbone.settings import Settings
from featx.data.cachefolder import cache_folder
from featx.data.opening import open_backbone
from featx.data.sources import open_source
from featx.data.sources.options import DescribedSource
from featx.errors import InputError
from featx.finetune.comparison import Scored
from featx.finetune.files import Files, require_apart, require_place, require_space
from featx.finetune.folds import Plan, plan
from featx.finetune.gathered import gather
from featx.finetune.learner import make_learner
from featx.finetune.made import Made
from featx.finetune.material import Material, read_material
from featx.finetune.prepared import Prepared, prepare
from featx.finetune.proof import ITEMS
from featx.finetune.recipe import Recipe
from featx.finetune.report import report
from featx.finetune.search import search
from featx.finetune.steps.activations import Activations
from featx.finetune.steps.body import Body
from featx.finetune.steps.caching import Caching
from featx.finetune.views import augmented
from featx.finetune.written import write
from featx.heads.predict import Head

LARGE_BYTES = 2**30
"""Of values at the cut: so much is told before it is computed."""


@dataclass(frozen=True, slots=True)
class Watch:
    """Who is told how a run goes on; nobody, by default.

    Attributes
    ----------
    progress : callable
        Told the stage (``"embed"`` or ``"cache"``), items done, and items in all.
    say : callable
        Told a line for people.
    """

    progress: Callable[[str, int, int], None] = lambda *_: None
    say: Callable[[str], None] = lambda _: None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a fine-tuning run wrote.

    Attributes
    ----------
    is_tuned : bool
        Whether there is a tuned backbone; otherwise the head is one on the frozen backbone.
    head : Head
    files : Files
        Where both lie.
    report : dict
        JSON values; see `featx.finetune.report.report`.
    problems : tuple of (id, problem)
        The first items that were skipped.
    interrupt : KeyboardInterrupt or None
        What ended the training; the best until then is kept.
    """

    is_tuned: bool
    head: Head
    files: Files
    report: dict[str, Any]
    problems: tuple[tuple[str, str], ...] = ()
    interrupt: KeyboardInterrupt | None = None


@dataclass(slots=True)
class _Clock:
    """Seconds that the stages of a run took."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        started_s = time.perf_counter()
        yield
        self.seconds[stage] = round(time.perf_counter() - started_s, 3)


def tune(
    source: DescribedSource,
    backbone: Backbone,
    out: Path,
    recipe: Recipe | None = None,
    *,
    cache: Path | None = None,
    watch: Watch | None = None,
) -> Outcome:
    """Tune the last layers of a backbone to the labels of a source; see docs/finetune.md.

    Parameters
    ----------
    source : DescribedSource
    backbone : Backbone
    out : Path
        ``X.onnx``; manifest, head and other files are named after it.
    recipe : Recipe, optional
    cache : Path or None
        The user-wide cache; None works without one.
    watch : Watch, optional

    Raises
    ------
    InputError
        If the backbone cannot be tuned, or the labels do not suffice.
    StoreError
        If the files cannot be written.
    """
    recipe, watch, clock = recipe or Recipe(), watch or Watch(), _Clock()
    files = require_place(out)
    require_apart(files, backbone.manifest)
    with clock.timed("prepare"):
        prepared = prepare(backbone, recipe)
    require_space(files, prepared.graph.model.ByteSize())
    with TemporaryDirectory(prefix="featx-finetune-") as folder:
        with clock.timed("embed"):
            place = Path(folder) / "frozen.emb"
            gathered = gather(source, backbone, place, cache=cache, progress=watch.progress)
        material = read_material(gathered.embedded, gathered.contents)
        rows = plan(material, share=recipe.val, seed=recipe.seed)
        for note in (*material.notes, *rows.notes):
            watch.say(f"note: {note}")
        if gathered.truncated:
            long = f"{gathered.truncated:,} items were longer than the model takes"
            watch.say(f"{long}, and were cut")
        examples = _examples(backbone, material, rows)
        with clock.timed("cache"):
            views = _cached(prepared, material, recipe, cache or Path(folder), watch)
        with clock.timed("train"):
            learner = make_learner(prepared, views, material.y, rows.parts[0].train, recipe)
            found = search(learner, material, rows, watch.say)
        made = Made(
            prepared=prepared,
            gathered=gathered,
            material=material,
            plan=rows,
            learner=learner,
            found=found,
            examples=examples,
        )
        test = _tested(made)
        with clock.timed("write"):
            head, apart = write(files, made)
    facts = report(prepared, material, rows, found, test)
    counts = {"skipped": gathered.skipped, "truncated": gathered.truncated}
    rest = {**counts, "difference": apart, "seconds": clock.seconds}
    return Outcome(
        is_tuned=facts["tuned"],
        head=head,
        files=files,
        report=facts | rest | files.facts(is_tuned=facts["tuned"]),
        problems=gathered.problems,
        interrupt=found.interrupt,
    )


def _examples(backbone: Backbone, material: Material, plan: Plan) -> list[bytes]:
    """Return what is read of items that judge, evenly spaced."""
    rows = plan.judged
    places = np.linspace(0, len(rows) - 1, min(ITEMS, len(rows))).astype(np.int64)
    return [backbone.read(material.contents[row]) for row in rows[places]]


def _cached(
    prepared: Prepared, material: Material, recipe: Recipe, cache: Path, watch: Watch
) -> list[Activations]:
    """Compute what the cut holds of every item, or find it in the cache."""
    if (size_bytes := _size_bytes(prepared, material, recipe)) >= LARGE_BYTES:
        watch.say(f"note: values at the cut take about {size_bytes / 2**30:.1f} GiB of the cache")
    caching = Caching(
        Body(prepared.backbone, prepared.parts),
        material.contents,
        cache=cache,
        views=recipe.views,
        view=augmented if recipe.views > 1 else None,
        dtype="float16" if recipe.activations == "fp16" else "float32",
        names=material.ids,
    )
    for done, total in caching.steps(material.digests):
        watch.progress("cache", done, total)
    for row, problem in caching.problems.items():
        message = f"{material.ids[row]}: changed while it was used: {problem}; run it again"
        raise InputError(message)
    return [caching.activations(view) for view in range(recipe.views)]


def _size_bytes(prepared: Prepared, material: Material, recipe: Recipe) -> int:
    """Return about how much the values at the cut take, of all items in all views."""
    of_each = prepared.cut.bytes_a_sample * (2 if recipe.activations == "fp32" else 1)
    samples = material.tokens if prepared.cut.grows else len(material)
    return of_each * samples * recipe.views


def _tested(made: Made) -> tuple[Scored, Scored | None] | None:
    """Return what frozen and tuned say of the rows that neither trained nor judged."""
    test, found, material = made.plan.test, made.found, made.material
    if not len(test):
        return None
    frozen = Scored(found.head.logits(material.X[test]), material.y[test])
    if found.trained is None:
        return frozen, None
    made.learner.take(found.trained)
    return frozen, made.learner.scored(test)


def fine_tune(
    source: str | Path | Sequence[str | Path],
    model: str,
    out: str | Path,
    recipe: Recipe | None = None,
) -> Outcome:
    """Tune a backbone as ``featx finetune`` does.

    Parameters
    ----------
    source : str, Path or sequence of them
        Folder of classes, table, tar or arrays with labels.
    model : str
        Name of a backbone, or path of its manifest.
    out : str or Path
        ``X.onnx``; manifest, head and other files are named after it.
    recipe : Recipe, optional

    Returns
    -------
    Outcome
        If an interrupt ended the training, it is there, and the best until then is written.

    Raises
    ------
    FeatxError
        As `tune` does.
    """
    cache = cache_folder()
    backbone = open_backbone(model, Settings(cache=cache).in_bulk())
    opened = open_source(source, modality=backbone.manifest.modality)
    return tune(opened, backbone, Path(out), recipe, cache=cache)
