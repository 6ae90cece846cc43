"""Images: EfficientNet-Lite0 over JPEG files of 1600 x 1200."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import corpora
from bench.support import drive, rows, tools
from bench.support.compare import against, finished, over_bound, whole
from bench.support.drive import Tool
from bench.support.places import WORKERS
from bench.support.plan import Plan
from bench.support.rounds import (
    Runs,
    best_setting,
    cosines,
    encode_with,
    in_turns,
    median,
    place,
    require_same_vectors,
    with_setting,
)
from bench.support.tools import FASTEMBED_IMAGE, FEATX_EXACT, FEATX_FAST

STAND_IN = (
    "fastembed registers no image models of users: a listed one's name is pointed at our graph "
    "and our preprocessing"
)


def measure(plan: Plan) -> list[dict[str, Any]]:
    """Return the rows of images."""
    corpus = corpora.images(plan.images)
    read_once(corpus)
    peers, swept = best_of_each(plan, corpus)
    ours = (FEATX_EXACT, FEATX_FAST)
    works = {tool.name: encode_with(tool, corpus, plan.threads) for tool in (*ours, *peers)}
    works |= {f"bound {decode}": bound(plan, corpus, decode) for decode in ("exact", "fast")}
    works |= {f"whole {tool.name}": command_line(plan, corpus, tool) for tool in ours}
    runs = in_turns(works, plan.rounds)
    least = require_same_vectors(runs, FEATX_EXACT.name, [tool.name for tool in peers])
    fastest = min(peers, key=lambda tool: median(runs[tool.name]))
    found = compared(runs, plan, fastest)
    notes = [describe(corpus), f"least cosine of the peer to exact {least:.7f}", swept, STAND_IN]
    return finished(found, plan.threads, *notes)


def compared(runs: Runs, plan: Plan, peer: Tool) -> list[dict[str, Any]]:
    target = rows.targets("images")
    pairs = (
        ("exact", FEATX_EXACT, "exact_vs_fastembed_best_min"),
        ("fast", FEATX_FAST, "fast_vs_fastembed_best_min"),
    )
    near = cosines(runs[FEATX_EXACT.name][0]["X"], runs[FEATX_FAST.name][0]["X"])
    fidelity = f"cosine of fast to exact: mean {near.mean():.5f}, least {near.min():.5f}"
    found = []
    for decode, tool, key in pairs:
        name = f"images, {decode}: fastembed at its best"
        row = against(runs, name, (tool.name, peer.name), plan.images, target[key], "image")
        found.append(row | ({"note": f"{fidelity}; {row['note']}"} if decode == "fast" else {}))
    for decode, tool, _ in pairs:
        found.append(bound_row(runs, decode, tool))
    for decode, tool, _ in pairs:
        name = f"images, {decode}, whole process: fastembed at its best"
        found.append(whole(runs, name, f"whole {tool.name}", peer.name))
    return found


def bound_row(runs: Runs, decode: str, tool: Tool) -> dict[str, Any]:
    """Return the row of exact or fast; the target is about both."""
    most, key = rows.targets("images")["over_decode_plus_model_max"], f"bound {decode}"
    name = f"images, {decode}: over CPU seconds of decoding plus model, over the cores"
    each = [median(runs[key], part) for part in ("decode_cpu_ms", "model_cpu_ms")]
    note = f"CPU ms an image, all cores busy: decode {each[0]:.1f}, model {each[1]:.1f}"
    return {**over_bound(runs, name, tool.name, key, most), "note": note}


def best_of_each(plan: Plan, corpus: Path) -> tuple[list[Tool], str]:
    """Return fastembed at its fastest in one process and in one a core, and what was tried."""
    best, tried = [], []
    for extra in ({}, {"parallel": plan.threads}):
        settings = tools.settings(tools.IMAGE_BATCHES, **extra)
        setting, rates = best_setting(FASTEMBED_IMAGE, corpus, settings, plan.swept, plan.threads)
        best.append(with_setting(FASTEMBED_IMAGE, setting))
        sizes = "/".join(str(s["batch_size"]) for s in settings)
        where = f" x {plan.threads} processes" if extra else ""
        speeds = "/".join(f"{rate:.0f}" for rate in rates)
        tried.append(f"fastembed{where} batch size {sizes}: {speeds}/s")
    return best, f"tried on {plan.swept} images: {', '.join(tried)}"


def read_once(corpus: Path) -> None:
    """Bring the files into memory, so that the first tool does not wait for the disk."""
    for path in corpus.iterdir():
        path.read_bytes()


def describe(corpus: Path) -> str:
    sizes = [path.stat().st_size for path in corpus.iterdir()]
    return f"{len(sizes)} JPEG files of 1600 x 1200, {sum(sizes) / len(sizes) / 1024:.0f} KiB each"


def bound(plan: Plan, corpus: Path, decode: str) -> Callable[[], dict[str, Any]]:
    command = [sys.executable, str(WORKERS / "image_bound.py"), str(corpus), tools.IMAGE]
    command += ["--decode", decode, "--threads", str(plan.threads), "--first", str(plan.swept)]
    command += ["--seconds", str(plan.seconds)]
    return lambda: drive.run(command, threads=plan.threads)


def command_line(plan: Plan, corpus: Path, tool: Tool) -> Callable[[], dict[str, Any]]:
    options = ("--preprocess", "fast") if tool is FEATX_FAST else ()

    def work() -> dict[str, Any]:
        out = place(f"whole {tool.name}")
        found = drive.embed(corpus, tools.IMAGE, out, threads=plan.threads, options=options)
        return {**found, "encode_s": found["seconds"]}

    return work
