"""Texts: MiniLM over a corpus of mixed lengths."""

import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import corpora
from bench.support import drive, rows, tools
from bench.support.compare import against, finished, over_bound, whole
from bench.support.drive import Tool
from bench.support.places import RUNS, WORKERS
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
from bench.support.tools import FASTEMBED, FEATX, FEATX_INT8, ONNX, TORCH

MAX_TOKENS = 256
DECIMALS = 7


def measure(plan: Plan) -> list[dict[str, Any]]:
    """Return the rows of texts."""
    corpus = corpora.texts(plan.texts)
    lengths = token_counts(corpus)
    default = with_setting(FASTEMBED, tools.FASTEMBED_DEFAULT)
    best, swept = best_of_each(plan, corpus)
    peers = [default, *best]
    works = {tool.name: encode_with(tool, corpus, plan.threads) for tool in (FEATX, *peers)}
    works["bound"] = bound(plan, lengths)
    works["featx embed"] = partial(command_line, corpus, plan.threads)
    runs = in_turns(works, plan.rounds)
    least = require_same_vectors(runs, FEATX.name, [tool.name for tool in peers])
    serial, parallel, torch, onnx = best
    fastest = min((serial, parallel), key=lambda tool: median(runs[tool.name]))
    found = compared(runs, plan, (default, fastest, torch, onnx))
    found.append(bound_row(runs))
    notes = [describe(corpus, lengths), f"least cosine of a peer {least:.{DECIMALS}f}", swept]
    return finished(found + int8(plan, corpus), plan.threads, *notes)


def compared(runs: Runs, plan: Plan, peers: tuple[Tool, ...]) -> list[dict[str, Any]]:
    target = rows.targets("text")
    named = dict(
        zip(
            (
                ("fastembed as it comes", "vs_fastembed_default_min"),
                ("fastembed at its best", "vs_fastembed_best_min"),
                ("sentence-transformers with torch", "vs_sentence_transformers_torch_min"),
                ("sentence-transformers with ONNX", "vs_sentence_transformers_onnx_min"),
            ),
            peers,
            strict=True,
        )
    )
    encoding = [
        against(runs, f"texts: {name}", (FEATX.name, peer.name), plan.texts, target[key], "text")
        for (name, key), peer in named.items()
    ]
    return encoding + [
        whole(runs, f"texts, whole process: {name}", "featx embed", peer.name)
        for (name, _), peer in named.items()
    ]


def best_of_each(plan: Plan, corpus: Path) -> tuple[list[Tool], str]:
    """Return each peer at its fastest setting, and what was tried.

    fastembed comes twice: in one process, and in one process a core.
    """
    sweeps = [
        (FASTEMBED, tools.settings(tools.TEXT_BATCHES)),
        (FASTEMBED, tools.settings(tools.TEXT_BATCHES, parallel=plan.threads)),
        (TORCH, tools.settings(tools.SENTENCE_BATCHES)),
        (ONNX, tools.settings(tools.SENTENCE_BATCHES)),
    ]
    best, tried = [], []
    for tool, settings in sweeps:
        setting, rates = best_setting(tool, corpus, settings, plan.swept, plan.threads)
        best.append(with_setting(tool, setting))
        sizes = "/".join(str(s["batch_size"]) for s in settings)
        where = f" x {plan.threads} processes" if "parallel" in setting else ""
        speeds = "/".join(f"{rate:.0f}" for rate in rates)
        tried.append(f"{tool.name}{where} batch size {sizes}: {speeds}/s")
    return best, f"tried on {plan.swept} texts: {', '.join(tried)}"


def token_counts(corpus: Path) -> NDArray[np.int64]:
    """Return the length of each text after truncation, special tokens counted."""
    from tokenizers import Tokenizer

    from featx.zoo import catalog

    tokenizer = Tokenizer.from_file(str(catalog.find(tools.TEXT).file("tokenizer")))
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TOKENS)
    lines = corpus.read_text(encoding="utf-8").splitlines()
    encoded = tokenizer.encode_batch([json.loads(line)["text"] for line in lines])
    return np.array([len(each.ids) for each in encoded], dtype=np.int64)


def describe(corpus: Path, lengths: NDArray[np.int64]) -> str:
    tenths = "/".join(f"{value:.0f}" for value in np.percentile(lengths, [10, 50, 90]))
    return (
        f"{corpora.describe(corpus)}: 80 % snippets of docstrings, 20 % mails; tokens "
        f"{tenths} at 10/50/90 %, {lengths.mean():.0f} on average, cut at {MAX_TOKENS}"
    )


def bound(plan: Plan, lengths: NDArray[np.int64]) -> Callable[[], dict[str, Any]]:
    """Return a measurement that tries all batch sizes once, and afterwards only the best."""
    from featx.zoo import catalog

    path = RUNS / "lengths.npy"
    RUNS.mkdir(parents=True, exist_ok=True)
    np.save(path, lengths)
    command = [sys.executable, str(WORKERS / "text_bound.py")]
    command += [str(catalog.find(tools.TEXT).file("graph")), str(path)]
    command += ["--threads", str(plan.threads), "--points", str(plan.points)]
    command += ["--seconds", str(plan.seconds)]
    known: list[str] = []

    def work() -> dict[str, Any]:
        found = drive.run([*command, *known], threads=plan.threads)
        known[:] = ["--settings", json.dumps(found["settings"])]
        return found

    return work


def bound_row(runs: Runs) -> dict[str, Any]:
    most = rows.targets("text")["over_ideal_batches_max"]
    row = over_bound(runs, "texts: over ideal one-length batches", FEATX.name, "bound", most)
    chosen = runs["bound"][0]["settings"].items()
    batches = ", ".join(f"{n}: {size}{' x1' if side else ''}" for n, (size, side) in chosen)
    return {**row, "note": f"best batch by length (x1: runs of one thread side by side) {batches}"}


def command_line(corpus: Path, threads: int) -> dict[str, Any]:
    found = drive.embed(corpus, tools.TEXT, place("featx embed"), threads=threads)
    return {**found, "encode_s": found["seconds"]}


def int8(plan: Plan, corpus: Path) -> list[dict[str, Any]]:
    """Return speed and fidelity of our int8, or one row that says why there is none."""
    name, target = "texts: featx int8 over featx fp32", rows.targets("text")
    pair = (FEATX, FEATX_INT8)
    works = {tool.name: encode_with(tool, corpus, plan.threads) for tool in pair}
    try:
        runs = in_turns(works, plan.rounds)
    except subprocess.CalledProcessError as error:
        reason = (error.stderr.strip().splitlines() or ["no message"])[-1]
        return [rows.row(name, None, note=f"not offered: {reason}")]
    near = cosines(runs[FEATX.name][0]["X"], runs[FEATX_INT8.name][0]["X"])
    names, least = (FEATX_INT8.name, FEATX.name), target["int8_vs_fp32_min"]
    speed = against(runs, name, names, plan.texts, least, "text")
    mean = float(near.mean())
    fidelity = rows.row(
        "texts: mean cosine of int8 to fp32",
        round(mean, 5),
        unit="cosine",
        note=f"least {near.min():.5f}",
        **rows.at_least(mean, target["int8_cosine_min"]),
    )
    return [speed, fidelity]
