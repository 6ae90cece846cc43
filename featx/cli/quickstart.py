"""``featx quickstart``."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from featx.cli import options as o
from featx.cli.localpath import LocalPath

if TYPE_CHECKING:
    from featx.data.store import EmbeddingSet
    from featx.heads.predict import Head

MAILS = 300
"""Mails that are embedded, of the 600 in the package: as many as fit into the minute."""


@dataclass(frozen=True, slots=True)
class Demo:
    """One line of the tour: a sample set and the backbone for it."""

    name: str
    sample: str
    model: str
    raw: str


DEMOS = (  # pictures on the last layer alone, mails on two layers: both are shown
    Demo("clipart", "clipart", "efficientnet-lite0", "pixels"),
    Demo("mails", "mails.csv", "minilm-l6-layers", "TF-IDF"),
    Demo("sounds", "sounds", "ge2e", "spectrum"),
)

NEXT = """
Next, on your own files:
  featx embed photos/ -m efficientnet-lite0 -o photos.emb     # a folder for each class
  featx embed reviews.csv -m minilm-l6-layers -o reviews.emb  # columns text and label
  featx train photos.emb -o photos.head
  featx predict photos.head new/*.jpg
  featx index photos.emb -o photos.knn && featx search photos.knn cat.jpg"""


@click.command()
@click.option(
    "-o",
    "--out",
    type=LocalPath(path_type=Path, file_okay=False),
    default=Path("featx-quickstart"),
    show_default=True,
    help="Folder for what is made.",
)
@o.threads_option
@o.cache_options
@o.seed_option
@o.json_option
@o.quiet_option
def quickstart(
    out: Path,
    threads: int | None,
    cache_dir: Path | None,
    no_cache: bool,
    seed: int,
    as_json: bool,
    quiet: bool,
) -> None:
    """Embed, train, evaluate and explain on the data inside the package.

    Pictures, mails and sounds, each with an embedded backbone; takes under a minute on two cores.
    """
    started_s = time.perf_counter()
    out.mkdir(parents=True, exist_ok=True)
    cache = o.cache_place(cache_dir, no_cache)
    rows, explanations = [], []
    for demo in DEMOS:
        row, explanation = _walk(demo, out, cache=cache, threads=threads, seed=seed, quiet=quiet)
        rows.append(row)
        explanations.append(explanation)
    seconds = round(time.perf_counter() - started_s, 1)
    if as_json:
        o.print_json({"rows": rows, "seconds": seconds, "out": str(out)})
        return
    _show(rows)
    click.echo(explanations[0])
    click.echo(f"\nAll of it is in {out}/; it took {seconds:.0f} s.{NEXT}")


def _walk(
    demo: Demo, out: Path, *, cache: Path | None, threads: int | None, seed: int, quiet: bool
) -> tuple[dict[str, Any], str]:
    """Embed, train and index one sample set; return its figures and an explained prediction."""
    from featx.cli.running import run
    from featx.data.origin import contents_of
    from featx.data.sources import open_source
    from featx.data.store import EmbeddingSet
    from featx.data.writer import versions
    from featx.embedding import Run
    from featx.gallery.build import GalleryRecipe, build_gallery
    from featx.heads.headfile import save_head
    from featx.train.recipe import Recipe
    from featx.train.train import train

    started_s = time.perf_counter()
    place = out / f"{demo.name}.emb"
    settings = o.settings(cache, threads=threads).in_bulk()
    backbone = o.open_backbone(demo.model, settings)
    source = open_source(_sample(demo, out), modality=backbone.manifest.modality)
    run(Run(source, backbone, place, cache=cache, command=o.command_line()), quiet=quiet)
    embedded_s = time.perf_counter()
    opened = EmbeddingSet.open(place)
    command = o.command_line()
    recipe = Recipe(seed=seed, command=command)
    head = train(opened, recipe, contents=contents_of(opened))
    save_head(out / f"{demo.name}.head", head)
    trained_s = time.perf_counter()
    gallery_path = out / f"{demo.name}.knn"
    gallery = build_gallery(
        opened, gallery_path, GalleryRecipe(command=command, versions=versions())
    )
    metrics = head.header["metrics"]
    row = {
        "data": demo.name,
        "items": len(opened),
        "classes": metrics["classes"],
        "model": demo.model,
        "head": metrics["chosen"]["head"],
        "accuracy": metrics["accuracy"],
        "interval": metrics["interval"],
        "knn": gallery.facts["metrics"]["accuracy"],
        "majority": metrics["baselines"]["majority"],
        "raw": metrics["baselines"]["raw"],
        "raw_features": demo.raw,
        "embed_s": round(embedded_s - started_s, 1),
        "train_s": round(trained_s - embedded_s, 1),
    }
    return row, _explain(opened, head, gallery_path, seed=seed)


def _sample(demo: Demo, out: Path) -> str:
    """Return where the sample lies; of the mails, a copy of some."""
    from featx.samples import folder

    path = folder() / demo.sample
    if demo.name != "mails":
        return str(path)
    short = out / "mails.csv"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    step = (len(lines) - 1) // MAILS
    short.write_text("".join([lines[0], *lines[1::step]]), encoding="utf-8")
    return str(short)


def _explain(opened: "EmbeddingSet", head: "Head", gallery_path: Path, *, seed: int) -> str:
    """Say what speaks for the label of one item: its nearest neighbours, itself left out."""
    import numpy as np

    from featx.gallery.gallery import Gallery

    row = int(np.random.default_rng(seed).integers(len(opened)))
    X = np.asarray(opened.X[row : row + 1])
    (found,) = Gallery.open(gallery_path).search(X, 6)
    others = [neighbour for neighbour in found if neighbour.row != row][:5]
    predicted = head.predict(X)[0]
    lines = [
        f"\nWhy {opened.ids[row]} is a case of {predicted.label!r} "
        f"({predicted.probability:.0%}; it is labelled {opened.y[row]!r}). Nearest to it:"
    ]
    lines += [f"  {n.similarity:.3f}  {n.label:<12} {n.id}" for n in others]
    return "\n".join(lines)


def _show(rows: list[dict[str, Any]]) -> None:
    header = ["data", "items", "classes", "model", "head", "accuracy", "95 % interval"]
    header += ["kNN", "majority", "raw features", "seconds"]
    o.print_table(
        header,
        [
            [
                *(row[key] for key in ("data", "items", "classes", "model", "head")),
                f"{row['accuracy']:.3f}",
                f"{row['interval'][0]:.3f}-{row['interval'][1]:.3f}",
                f"{row['knn']:.3f}",
                f"{row['majority']:.3f}",
                f"{row['raw']:.3f} ({row['raw_features']})",
                f"{row['embed_s'] + row['train_s']:.1f}",
            ]
            for row in rows
        ],
    )
