"""From the times of several tools to rows."""

from typing import Any

from bench.support import rows
from bench.support.rounds import Runs, median

LOADS_INSIDE = "the peer's processes load the model within this time, ours before it"


def against(
    runs: Runs, name: str, tools: tuple[str, str], items: int, least: float, unit: str
) -> dict[str, Any]:
    """Return the row of our items a second over a peer's; `tools` are ours and the peer."""
    ours, peer = tools
    mine, theirs = median(runs[ours]), median(runs[peer])
    return rows.row(
        name,
        round(items / mine, 1),
        unit=f"{unit}s/s",
        peer=peer,
        peer_value=round(items / theirs, 1),
        ratio=round(theirs / mine, 2),
        note=cpu_note(runs, ours, peer, items, unit),
        **rows.at_least(theirs / mine, least),
    )


def over_bound(runs: Runs, name: str, ours: str, bound: str, most: float) -> dict[str, Any]:
    """Return the row of our seconds over those of the bound; `most` is the share above it."""
    mine, least = median(runs[ours]), median(runs[bound])
    return rows.row(
        name,
        round(mine, 2),
        unit="s",
        peer="bound, same run",
        peer_value=round(least, 2),
        ratio=round(mine / least, 3),
        **rows.at_most(mine / least, 1 + most),
    )


def whole(runs: Runs, name: str, ours: str, peer: str) -> dict[str, Any]:
    """Return the row of a fresh process's seconds, imports and loading included; no target."""
    mine, theirs = median(runs[ours], "whole_s"), median(runs[peer], "whole_s")
    cpu = [median(runs[tool], "whole_cpu_s") for tool in (ours, peer)]
    return rows.row(
        name,
        round(mine, 2),
        unit="s",
        peer=peer,
        peer_value=round(theirs, 2),
        ratio=round(theirs / mine, 2),
        note=f"start of the process to its end; CPU seconds {cpu[0]:.1f} and {cpu[1]:.1f}",
    )


def cpu_note(runs: Runs, ours: str, peer: str, items: int, unit: str) -> str:
    pair = [1000 * median(runs[tool], "encode_cpu_s") / items for tool in (ours, peer)]
    note = f"CPU ms {'an' if unit == 'image' else 'a'} {unit}: {pair[0]:.1f}, peer {pair[1]:.1f}"
    return f"{note}; {LOADS_INSIDE}" if "parallel" in peer else note


def finished(found: list[dict[str, Any]], threads: int, *notes: str) -> list[dict[str, Any]]:
    """Return rows with the thread count; `notes` are about all, and stand in the first."""
    first = "; ".join([found[0]["note"], *notes])
    return [{**row, "threads": threads} for row in [{**found[0], "note": first}, *found[1:]]]
