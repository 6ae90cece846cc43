"""Figures of a gallery in PostgreSQL."""

from typing import Any

from featx.gallery.postgres.held import PostgresHeld
from featx.gallery.postgres.server import Session, one
from featx.gallery.postgres.tables import Tables


def figures(held: PostgresHeld) -> dict[str, Any]:
    """Return the figures of `Gallery.stats`, and ``servers``: where its tables are."""
    facts, state, counts = held.facts, held.state, held.label_counts
    sizes = held.shards.ask(sizes_of)
    return {
        "items": len(held),
        "removed": state.removed,
        "blanked": 0,
        "pending": 0,
        "changes": state.changes,
        "parts": len(held.shards),
        "standalone": True,
        "generation": state.generation,
        "model": facts["model"],
        "dim": held.dim,
        "metric": held.metric,
        "kind": facts["index"]["kind"],
        "settings": facts["index"]["settings"],
        **{name: facts["metrics"][name] for name in ("recall", "latency_ms", "accuracy")},
        "k": facts["k"],
        "temperature": facts["temperature"],
        "classes": counts,
        "labelled": sum(counts.values()),
        "disk_bytes": sum(all_bytes for all_bytes, _ in sizes),
        "index_bytes": sum(graph for _, graph in sizes),
        "fold_error": None,
        "storage": held.shards.tables.storage,
        "servers": [
            f"{server.dsn} ({', '.join(each.as_string(None) for each in server.tables.all)})"
            for server in held.shards.servers
        ],
    }


def sizes_of(session: Session, tables: Tables) -> tuple[int, int]:
    """Return the bytes of a server's table with its indexes, and those of its graph."""
    query = "SELECT pg_total_relation_size(to_regclass(%s)), pg_relation_size(to_regclass(%s))"
    names = [each.as_string(None) for each in (tables.items, tables.graph)]
    found, graph = one(session, query, *names)
    return found, graph or 0
