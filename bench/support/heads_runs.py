"""Runs of ``workers/heads_fit.py``, and rows made of them."""

import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from bench.support import drive, rows
from bench.support.heads_problems import Problem
from bench.support.places import RUNS, WORKERS
from bench.support.rounds import Runs, median

Found = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Tool:
    """One way to fit a head.

    Attributes
    ----------
    name : str
        For the rows.
    key : str
        Of the worker's table.
    setting : dict
        Arguments of the estimator.
    options : tuple of str
        What else the worker is told.
    """

    name: str
    key: str
    setting: dict[str, Any]
    options: tuple[str, ...] = ()

    def having(self, name: str, **setting: object) -> "Tool":
        return replace(self, name=name, setting={**self.setting, **setting})

    def told(self, *options: str) -> "Tool":
        return replace(self, options=(*self.options, *options))

    def fit(self, problem: Problem, threads: int) -> Found:
        command = [sys.executable, str(WORKERS / "heads_fit.py"), str(problem.folder()), self.key]
        command += ["--setting", json.dumps(self.setting), *self.options]
        found = drive.run(command, threads=threads)
        return {**found, "encode_s": found["fit_s"], "encode_cpu_s": found["fit_cpu_s"]}

    def turn(self, problem: Problem, threads: int) -> Callable[[], Found]:
        """Return a fit for `rounds.in_turns`."""
        return lambda: self.fit(problem, threads)


SLOW_S = 20.0


def is_slow(found: Found) -> bool:
    """Return whether one run is enough: of twenty seconds, noise is a small part."""
    return bool(found["fit_s"] >= SLOW_S)


class Optimum:
    """The least objective at each C of a problem: how far a fit is above it tells how exact it is.

    Two tools may choose two penalties, so that their objectives cannot be compared as they are.
    """

    def __init__(self, problem: Problem, threads: int) -> None:
        self.problem = problem
        self.threads = threads
        self.near = RUNS / "heads-weights.npz"
        self.known: dict[float, float] = {}
        RUNS.mkdir(parents=True, exist_ok=True)

    @property
    def saved(self) -> tuple[str, str]:
        """What tells a worker to leave its weights, from which the least is looked for."""
        return "--weights", str(self.near)

    def excess(self, found: Found) -> float:
        """Return (objective - least) / least."""
        C = found["C"]
        if C not in self.known:
            tool = Tool("reference", "reference", {"C": C, "start": str(self.near)})
            self.known[C] = tool.fit(self.problem, self.threads)["objective"]
        return float(found["objective"] / self.known[C] - 1)


def as_exact(
    tool: Tool, ours: Found, optimum: Optimum, tolerances: Iterable[float]
) -> tuple[Tool, Found, str]:
    """Return a peer at the loosest tolerance that is no worse than ours.

    Returns
    -------
    tuple
        The peer, what it found, and what was tried.
    """
    least, tried = optimum.excess(ours), []
    for tolerance in tolerances:
        made = tool.having(f"{tool.name}, tol {tolerance:g}", tol=tolerance)
        found = made.fit(optimum.problem, optimum.threads)
        excess = optimum.excess(found)
        tried.append(f"{tolerance:g}: {excess:.1e}")
        if excess <= least:
            break
    return (
        made,
        found,
        f"objective above the least: ours {least:.1e}, peer at tol {', '.join(tried)}",
    )


def timed(runs: Runs, name: str, ours: Tool, peer: Tool, least: float | None = None) -> Found:
    """Return the row of our seconds over a peer's, with CPU seconds in its note."""
    mine, theirs = median(runs[ours.name]), median(runs[peer.name])
    cpu = [median(runs[tool.name], "encode_cpu_s") for tool in (ours, peer)]
    return rows.row(
        name,
        round(mine, 3),
        unit="s",
        peer=peer.name,
        peer_value=round(theirs, 3),
        ratio=round(theirs / mine, 2),
        threads=runs[ours.name][0]["threads"],
        note=f"CPU s {cpu[0]:.2f}, peer {cpu[1]:.2f}: ratio {cpu[1] / cpu[0]:.2f}",
        **({} if least is None else rows.at_least(theirs / mine, least)),
    )


def over_bound(runs: Runs, name: str, ours: Tool) -> Found:
    mine, bound = median(runs[ours.name]), median(runs[ours.name], "bound_s")
    return rows.row(
        name,
        round(mine, 3),
        unit="s",
        peer="float32 matrix products alone, same run",
        peer_value=round(bound, 3),
        ratio=round(mine / bound, 2),
        threads=runs[ours.name][0]["threads"],
        note=f"{runs[ours.name][0]['kernel']} kernels",
    )


def accurate(name: str, ours: Found, peer: Found, peer_name: str) -> Found:
    """Return the row of our test accuracy, in per cent, which may be a little below a peer's."""
    mine, theirs = 100 * ours["test_accuracy"], 100 * peer["test_accuracy"]
    most = rows.targets("heads")["accuracy_points_below_max"]
    return rows.row(
        name,
        round(mine, 2),
        unit="%",
        peer=peer_name,
        peer_value=round(theirs, 2),
        target=f">= peer - {most:g}",
        ok=bool(mine >= theirs - most),
        threads=ours["threads"],
    )
