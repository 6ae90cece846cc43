"""The rows of ``bench/serve.py``, part by part."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.support import drive, rows, serve_things
from bench.support.places import MODELS, WORKERS, python
from bench.support.rounds import in_turns
from bench.support.serve_load import Found, Server, load, middle, post, running, write_bodies

READY = "/health/ready"
BARE = "uvicorn, Starlette and msgspec with nothing else"
CLIENTS = 32
PEAKS = (32, 64)
"""Clients among which a server has its peak."""

OVER = 10
LEAST_COSINE = 0.9999
TEXTS = 1024


@dataclass(frozen=True, slots=True)
class Plan:
    """Sizes of one run.

    Attributes
    ----------
    rounds : int
    seconds : float
        Of each load.
    overload_s : float
    rows : int
        Vectors of the gallery.
    """

    rounds: int
    seconds: float
    overload_s: float
    rows: int


FULL = Plan(rounds=3, seconds=8, overload_s=60, rows=100_000)
QUICK = Plan(rounds=1, seconds=3, overload_s=8, rows=20_000)


def featx_serve(thing: Path | str, *options: str) -> list[str]:
    command = [sys.executable, "-m", "featx", "serve", str(thing), "--port", "{port}"]
    return [*command, "--device", "cpu", "--threads", "1", *options]


def turn(
    command: list[str], health: str, path: str, bodies: Path, *, clients: int, seconds: float
) -> Callable[[], Found]:
    """Return what starts a server, warms it up, loads it and ends it."""

    def work() -> Found:
        with running(command, health) as server:
            load(server, path, bodies, clients=clients, seconds=1)
            found = load(server, path, bodies, clients=clients, seconds=seconds)
            return {**found, "memory_mib": server.memory_mib()}

    return work


def bound(work: str, *places: Path | str, sizes: str) -> Callable[[], Found]:
    """Return what measures a model or an index by itself, on the server's core."""
    script = [python("featx"), str(WORKERS / "serve_bound.py"), work, *map(str, places)]
    command = ["taskset", "-c", "0", *script, "--sizes", sizes]
    return lambda: drive.run(command, threads=1)


def told(runs: list[Found]) -> str:
    """Say what clients saw, for a note."""
    lost = sum(run["lost"] + run["refused"] for run in runs)
    failed = f", {lost:,} requests failed" if lost else ""
    return (
        f"p50 {middle(runs, 'p50_ms'):.2f} ms, p99 {middle(runs, 'p99_ms'):.2f} ms, server CPU "
        f"{middle(runs, 'cpu_us'):.0f} us a request, {middle(runs, 'memory_mib'):.0f} MiB{failed}"
    )


def echo(plan: Plan) -> list[Found]:
    thing = serve_things.text_head()
    bodies = write_bodies("echo", [{"input": "what is sent comes back"}])
    commands = {
        "featx": [sys.executable, str(WORKERS / "serve_echo.py"), str(thing), "{port}"],
        BARE: [sys.executable, str(WORKERS / "serve_bare.py"), "{port}"],
    }
    works = {
        name: turn(command, READY, "/v1/echo", bodies, clients=CLIENTS, seconds=plan.seconds)
        for name, command in commands.items()
    }
    runs = in_turns(works, plan.rounds)
    rate, bare = middle(runs["featx"], "per_s"), middle(runs[BARE], "per_s")
    return [
        rows.row(
            "echo endpoint of the whole stack, 32 clients",
            round(rate),
            unit="requests/s",
            peer=BARE,
            peer_value=round(bare),
            ratio=round(rate / bare, 2),
            note=f"ours: {told(runs['featx'])}; theirs: {told(runs[BARE])}",
            **rows.at_least(rate, rows.targets("serve")["echo_per_s_min"]),
        )
    ]


def vectors(plan: Plan) -> list[Found]:
    """Return rows of kNN classification of ready vectors."""
    target, thing = rows.targets("serve"), serve_things.gallery(plan.rows)
    Q = serve_things.queries(plan.rows)
    place = thing.with_name("queries.npy")
    np.save(place, Q)
    numbers = [{"input": {"vector": [round(float(x), 6) for x in q]}} for q in Q]
    encoded = [{"input": {"vector": _base64(q)}} for q in Q]
    command, path = featx_serve(thing), "/v1/classify"
    works = {"index alone": bound("vectors", thing, place, sizes=f"[1, {CLIENTS}]")}
    for name, bodies in (("numbers", numbers), ("base64", encoded)):
        file = write_bodies(f"vectors-{name}", bodies)
        works[name] = turn(command, READY, path, file, clients=CLIENTS, seconds=plan.seconds)
    runs = in_turns(works, plan.rounds)
    alone = float(np.median([run["rates"][str(CLIENTS)] for run in runs["index alone"]]))
    found = []
    for name in ("numbers", "base64"):
        rate, p99 = middle(runs[name], "per_s"), middle(runs[name], "p99_ms")
        fast = rate >= target["vectors_per_s_min"] and p99 <= target["vectors_p99_ms_max"]
        near = rate >= target["vectors_share_of_index_min"] * alone
        wanted = f">= {target['vectors_per_s_min']}/s and p99 <= {target['vectors_p99_ms_max']} ms"
        found.append(
            rows.row(
                f"kNN of vectors as {name}, {plan.rows:,} x {Q.shape[1]}, 32 clients",
                round(rate),
                unit="requests/s",
                peer="the index alone, batches of 32",
                peer_value=round(alone),
                ratio=round(rate / alone, 2),
                target=f"{wanted}; or >= {target['vectors_share_of_index_min']} of the index, "
                "whichever is more",
                ok=bool(fast and (near or alone * 0.8 < target["vectors_per_s_min"])),
                note=told(runs[name]),
            )
        )
    return found


def _base64(vector: Any) -> str:  # noqa: ANN401
    from featx.serve.routes.wire import to_base64

    return to_base64(vector)


def texts(plan: Plan) -> list[Found]:
    """Return rows of MiniLM with a head on texts of 12 tokens."""
    target, head = rows.targets("serve"), serve_things.text_head()
    bodies = write_bodies("texts", [{"input": text} for text in serve_things.short_texts(TEXTS)])
    command, path = featx_serve(head), "/v1/classify"
    works = {"model alone": bound("texts", bodies, sizes=f"[1, {CLIENTS}]")}
    for clients in (1, CLIENTS):
        works[f"{clients} clients"] = turn(
            command, READY, path, bodies, clients=clients, seconds=plan.seconds
        )
    runs = in_turns(works, plan.rounds)
    rates = {
        size: float(np.median([run["rates"][str(size)] for run in runs["model alone"]]))
        for size in (1, CLIENTS)
    }
    many, one = runs[f"{CLIENTS} clients"], runs["1 clients"]
    rate, single_ms, unbatched_ms = middle(many, "per_s"), middle(one, "p50_ms"), 1e3 / rates[1]
    return [
        rows.row(
            "text classification, MiniLM, 12 tokens, 32 clients",
            round(rate),
            unit="requests/s",
            peer="the model alone, batches of 32",
            peer_value=round(rates[CLIENTS]),
            ratio=round(rate / rates[CLIENTS], 2),
            note=told(many),
            **rows.at_least(rate / rates[CLIENTS], target["texts_share_of_model_min"]),
        ),
        rows.row(
            "text classification, MiniLM, 12 tokens, one client, p50",
            round(single_ms, 2),
            unit="ms",
            peer="the model alone, one text a call, mean",
            peer_value=round(unbatched_ms, 2),
            ratio=round(single_ms / unbatched_ms, 2),
            note=f"{told(one)}; without the batcher a request would take the model's time and its "
            "own: compare the echo row",
        ),
    ]


def peers(plan: Plan) -> list[Found]:
    """Return rows of the embeddings route beside other servers of the same weights."""
    target, given = rows.targets("serve"), serve_things.short_texts(TEXTS)
    model = MODELS / "minilm"
    ours = ("featx", featx_serve(serve_things.MODEL), READY, "/v1/embeddings")
    infinity = [
        str(Path(python("infinity")).with_name("infinity_emb")), "v2", "--model-id", str(model),
        "--engine", "optimum", "--device", "cpu", "--port", "{port}", "--batch-size", "32",
        "--served-model-name", "minilm-l6", "--no-bettertransformer", "--host", "127.0.0.1",
        "--pooling-method", "mean",
    ]  # fmt: skip
    plain = [python("fastapi"), str(WORKERS / "serve_fastapi.py"), str(model), "{port}"]
    servers = [
        ours,
        ("infinity-emb, ONNX", infinity, "/health", "/embeddings"),
        ("FastAPI over sentence-transformers", plain, "/health", "/embeddings"),
    ]
    bodies = write_bodies(
        "embeddings", [{"input": text, "model": serve_things.MODEL} for text in given]
    )
    _require_same(servers, given[:8])
    works = {
        name: turn(command, health, path, bodies, clients=CLIENTS, seconds=plan.seconds)
        for name, command, health, path in servers
    }
    runs = in_turns(works, plan.rounds)
    rate = middle(runs["featx"], "per_s")
    return [
        rows.row(
            f"embeddings, MiniLM, 12 tokens, 32 clients, beside {name}",
            round(rate),
            unit="requests/s",
            peer=name,
            peer_value=round(middle(runs[name], "per_s")),
            ratio=round(rate / middle(runs[name], "per_s"), 2),
            note=f"ours: {told(runs['featx'])}; theirs: {told(runs[name])}",
            **rows.at_least(rate / middle(runs[name], "per_s"), target[key]),
        )
        for (name, *_), key in zip(servers[1:], ("vs_infinity_min", "vs_fastapi_min"), strict=True)
    ]


def _require_same(servers: list[tuple[str, list[str], str, str]], given: list[str]) -> None:
    """Exit where two servers do not give the same vectors."""
    vectors: dict[str, Any] = {}
    for name, command, health, path in servers:
        with running(command, health) as server:
            body = {"input": given, "model": serve_things.MODEL}
            X = np.array([row["embedding"] for row in post(server, path, body)["data"]])
        vectors[name] = X / np.linalg.norm(X, axis=1, keepdims=True)
    first, *others = vectors.values()
    for name, other in zip(list(vectors)[1:], others, strict=True):
        if not (least := float((first * other).sum(axis=1).min())) >= LEAST_COSINE:
            sys.exit(f"{name}: its vectors are not ours: cosine {least:.6f}")


def start(plan: Plan) -> list[Found]:
    """Return rows of how soon a server is ready and what it holds."""
    most, found = rows.targets("serve")["ready_s_max"], []
    things = {
        "a head on MiniLM": serve_things.text_head(),
        f"a gallery of {plan.rows:,} vectors": serve_things.gallery(plan.rows),
        "efficientnet-lite0": "efficientnet-lite0",
    }
    for name, thing in things.items():
        runs = []
        for _ in range(max(3, plan.rounds)):
            with running(featx_serve(thing), READY) as server:
                runs.append({"ready_s": server.ready_s, "memory_mib": server.memory_mib()})
        ready_s = middle(runs, "ready_s")
        found.append(
            rows.row(
                f"from the start to ready, {name}",
                round(ready_s, 2),
                unit="s",
                note=f"on one core, files in the page cache; "
                f"{middle(runs, 'memory_mib'):.0f} MiB resident once ready",
                **rows.at_most(ready_s, most),
            )
        )
    return found


def overload(plan: Plan) -> list[Found]:
    """Return rows of a server that is asked for ten times what it can do."""
    target, head = rows.targets("serve"), serve_things.text_head()
    bodies = write_bodies("texts", [{"input": text} for text in serve_things.short_texts(TEXTS)])
    path = "/v1/classify"
    with running(featx_serve(head), READY) as server:
        load(server, path, bodies, clients=CLIENTS, seconds=1)
        peak = _peak(server, path, bodies, plan)
        before_mib = server.memory_mib()
        clients = OVER * max(PEAKS)
        half = plan.overload_s / 2
        first = load(server, path, bodies, clients=clients, seconds=half)
        middle_mib = server.memory_mib()
        second = load(server, path, bodies, clients=clients, seconds=half)
        after_mib = server.memory_mib()
    goodput = (first["per_s"] + second["per_s"]) / 2
    growth = after_mib / middle_mib - 1
    refused = first["refused"] + second["refused"]
    lost = first["lost"] + second["lost"]
    return [
        rows.row(
            f"answers a second at overload, {clients} clients for {plan.overload_s:g} s",
            round(goodput),
            unit="requests/s",
            peer=f"its peak, {peak['clients']} clients",
            peer_value=round(peak["per_s"]),
            ratio=round(goodput / peak["per_s"], 2),
            note=f"p50 {second['p50_ms']:.0f} ms, p99 {second['p99_ms']:.0f} ms, {refused:,} "
            f"turned away, {lost:,} lost",
            **rows.at_least(goodput / peak["per_s"], target["overload_goodput_min"]),
        ),
        rows.row(
            "growth of memory over the second half of the overload",
            round(growth, 3),
            note=f"{before_mib:.0f} MiB before, {middle_mib:.0f} at half, {after_mib:.0f} after",
            **rows.at_most(growth, target["overload_memory_growth_max"]),
        ),
    ]


def _peak(server: Server, path: str, bodies: Path, plan: Plan) -> Found:
    """Return the best rate over numbers of clients, and with how many it was."""
    tried = [
        {**load(server, path, bodies, clients=clients, seconds=plan.seconds), "clients": clients}
        for clients in PEAKS
    ]
    return max(tried, key=lambda run: float(run["per_s"]))
