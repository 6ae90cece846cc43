"""A Ray cluster, as a driver sees it: joined, looked at, and waited for."""

import logging
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any
from urllib.parse import urlsplit

from featx.errors import InputError, MissingPackageError, ServerError
from featx.scale.cluster import Node, Share, units

STORE_BYTES = 200_000_000
"""Memory of Ray's object store on this machine: only lists of items travel."""

ANSWER_S = 10.0
"""How long an address is waited for."""

SILENT_S = 15.0
"""How long the first worker may take to find room before it is said what is waited for."""

ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}
"""What Ray is told, unless the user has: it calls nobody, and its own logs stay in its files."""

Say = Callable[[str], None]
"""What is done with a line for people."""


@contextmanager
def joined(address: str | None) -> Iterator[None]:
    """Join a cluster, or begin one on this machine, and leave it at the end.

    Parameters
    ----------
    address : str or None
        Default ``RAY_ADDRESS``.

    Raises
    ------
    MissingPackageError
        If Ray is not installed.
    ServerError
        If the cluster cannot be reached.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError as cause:
        raise MissingPackageError("ray", "'featx[ray]'") from cause

    is_ours = not ray.is_initialized()
    if is_ours:
        _join(address or os.environ.get("RAY_ADDRESS") or None)
    try:
        yield
    finally:
        if is_ours:
            ray.shutdown()


def _join(address: str | None) -> None:
    import ray

    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    if not address:
        quiet |= {"include_dashboard": False, "object_store_memory": STORE_BYTES}
    is_there = require_answer(address)
    try:
        with _muted():
            ray.init(address or "local", **quiet)
        # What Ray tells of lost workers goes to stdout, which is for results alone.
        ray._private.worker._worker_logs_enabled = False
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as cause:
        said = (str(cause).strip().splitlines() or [type(cause).__name__])[0]
        raise ServerError(unjoined(address, said, is_there=is_there)) from cause


def unjoined(address: str | None, said: str, *, is_there: bool) -> str:
    """Return what is said where a cluster could not be joined.

    Parameters
    ----------
    address : str or None
    said : str
        By Ray.
    is_there : bool
        Whether something answers at the address.
    """
    if not is_there:
        return (
            f"ray: {address or 'a cluster on this machine'} cannot be used: {said}; start one "
            "with: ray start --head, and name it with --address HOST:PORT"
        )
    # Ray itself says of a missing token no more than that it could not connect.
    hint = (
        "is the token of RAY_AUTH_TOKEN, or else of ~/.ray/auth_token, that of the cluster?"
        if os.environ.get("RAY_AUTH_MODE") == "token"
        else "if it asks for a token, set RAY_AUTH_MODE=token in this shell too (and "
        "RAY_AUTH_TOKEN, unless ~/.ray/auth_token holds it)"
    )
    return f"ray: {address} answers, and could not be joined: {said}; {hint}"


def require_answer(address: str | None) -> bool:
    """Raise where nothing listens at ``HOST:PORT``: Ray itself asks for ten minutes or more.

    Returns
    -------
    bool
        Whether something does; False where no such address is given.

    Raises
    ------
    InputError
        If the port is none.
    ServerError
    """
    try:
        given = address or ""
        found = urlsplit(given if "://" in given else f"//{given}")
        host, port = found.hostname, found.port
    except ValueError as cause:
        raise InputError(f"address {address!r}: {cause}; expected HOST:PORT") from cause
    if host is None or port is None:
        return False  # none is given, or "auto"
    try:
        socket.create_connection((host, port), timeout=ANSWER_S).close()
    except OSError as cause:
        raise ServerError(
            f"ray: nothing answers at {address}: {cause.strerror or cause}; start a cluster with:"
            " ray start --head, and name it with --address HOST:PORT"
        ) from cause
    return True


@contextmanager
def _muted() -> Iterator[None]:
    """Keep what Ray's own threads write to stderr while it starts, such as which level they log."""
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def nodes() -> list[Node]:
    """Return the nodes of the cluster that are alive."""
    import ray

    found: list[dict[str, Any]] = ray.nodes()
    return Node.all(found)


def room(share: Share) -> int:
    """Return how many workers the cluster holds, whoever uses it now."""
    return sum(node.holds(share) for node in nodes())


def is_free(share: Share) -> bool:
    """Return whether the cluster has so much that nobody uses now."""
    import ray

    free = ray.available_resources()
    return bool(free.get("CPU", 0) >= share.cpus and free.get("GPU", 0) >= share.gpus)


def has_worker() -> bool:
    """Return whether a worker of this driver has found room on a node."""
    import ray
    from ray._private import state  # its public face needs the dashboard

    job = ray.JobID.from_hex(ray.get_runtime_context().get_job_id())
    found: dict[str, dict[str, Any]] = state.actors(job_id=job)
    workers = (each for each in found.values() if each["ActorClassName"].startswith("MapWorker"))
    return any(each["State"] != "DEAD" and each["Pid"] for each in workers)


@contextmanager
def telling(say: Say, share: Share, has_begun: Callable[[], bool]) -> Iterator[None]:
    """Say what is waited for, where something has not begun within some seconds.

    Parameters
    ----------
    say : callable
        Called from another thread, once at most.
    share : Share
        Of the cluster, which is waited for.
    has_begun : callable
    """
    ended = Event()

    def watch() -> None:
        from ray.exceptions import RayError

        if ended.wait(SILENT_S):
            return
        try:
            if not has_begun():
                say(_waiting(share))
        except RayError:  # of a cluster that is lost, which the driver finds out too
            return

    watcher = Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


def _waiting(share: Share) -> str:
    import ray

    return waiting(share, ray.cluster_resources(), ray.available_resources())


def waiting(share: Share, has: Mapping[str, float], free: Mapping[str, float]) -> str:
    """Return what is waited for, in one line.

    Examples
    --------
    >>> print(waiting(Share(1), {"CPU": 2.0}, {}))
    ray: waiting for 1 CPU on one node: 2 of 2 CPUs of the cluster are in use; Ctrl-C ends it
    """
    wanted, used = [], []
    for name, count in (("CPU", share.cpus), ("GPU", share.gpus)):
        if count:
            wanted.append(units(count, name))
            total = has.get(name, 0)
            used.append(f"{total - free.get(name, 0):g} of {total:g} {name}s")
    return (
        f"ray: waiting for {' and '.join(wanted)} on one node: {' and '.join(used)} of the cluster "
        "are in use; Ctrl-C ends it"
    )
