"""How each tool is run: a process of its own, timed from outside and by itself.

featx's command line is called here; its Python API in ``workers/featx_encode.py``.
"""

import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.support.places import MODELS, ROOT, WORKERS, python


@dataclass(frozen=True, slots=True)
class Tool:
    """One way to encode a corpus.

    Attributes
    ----------
    name : str
        For the rows.
    environment : str
        A key of `bench.peers.PEERS`, or ``"featx"``.
    script : str
        Of ``bench/workers``.
    model : str
        A folder of ``.bench/models``, or a name of featx's zoo.
    arguments : tuple of str
        What else the script is told.
    """

    name: str
    environment: str
    script: str
    model: str
    arguments: tuple[str, ...] = ()

    def command(self, corpus: Path, out: Path, threads: int) -> list[str]:
        model = self.model if self.environment == "featx" else str(MODELS / self.model)
        fixed = [python(self.environment), str(WORKERS / self.script)]
        return [*fixed, str(corpus), model, str(out), "--threads", str(threads), *self.arguments]


def run(command: list[str], *, threads: int) -> dict[str, Any]:
    """Run a worker to its end and return its last line, with `whole_s` and `whole_cpu_s`.

    Raises
    ------
    subprocess.CalledProcessError
        If it fails; its output is on stderr.
    """
    before, started_s = children_cpu_s(), time.perf_counter()
    done = subprocess.run(
        command, check=False, env=variables(threads), capture_output=True, text=True, cwd=ROOT
    )
    whole_s, whole_cpu_s = time.perf_counter() - started_s, children_cpu_s() - before
    if done.returncode:
        sys.stderr.write(done.stdout[-2000:] + done.stderr[-2000:])
        raise subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr)
    last = done.stdout.strip().splitlines()[-1]
    return {**json.loads(last), "whole_s": whole_s, "whole_cpu_s": whole_cpu_s}


def embed(
    source: Path,
    model: str,
    out: Path,
    *,
    threads: int,
    cache: Path | None = None,
    options: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Run ``featx embed`` and return its ``--json`` with `whole_s` and `whole_cpu_s`."""
    command = [sys.executable, "-m", *embed_arguments(source, model, out, cache, threads)]
    return run([*command, *options], threads=threads)


def embed_arguments(
    source: Path, model: str, out: Path, cache: Path | None, threads: int
) -> list[str]:
    """Return the command line after ``python -m``."""
    place = ["--no-cache"] if cache is None else ["--cache-dir", str(cache)]
    found = ["featx", "embed", str(source), "-m", model, "-o", str(out), "--json", "--quiet"]
    return [*found, "--device", "cpu", "--threads", str(threads), *place]


def children_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def variables(threads: int) -> dict[str, str]:
    """Return the environment of a worker: its threads, this checkout, and no network."""
    places = [place for place in (os.environ.get("PYTHONPATH"), str(ROOT)) if place]
    return {
        **os.environ,
        "OMP_NUM_THREADS": str(threads),
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": os.pathsep.join(places),
    }


def pin(threads: int) -> None:
    """Keep this process and all that it starts on the first `threads` cores."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, cores[:threads])
