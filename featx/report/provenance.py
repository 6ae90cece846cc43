"""Where everything came from: fingerprints, versions and commands, all of it as text."""

from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version
from typing import Any

from featx.data.store import EmbeddingSet
from featx.heads.predict import Head
from featx.report.elements import facts, section
from featx.report.permitted import each_source

_PACKAGES = ("featx", "numpy", "scikit-learn", "bokeh")
_LONGEST = 400

Pair = tuple[str, str]


def provenance_section(
    embedding_set: EmbeddingSet | None, head: Head | None, command: str, balance: str
) -> str:
    """Return the section of provenance.

    Parameters
    ----------
    embedding_set, head
        What the page is about.
    command : str
        That made the page.
    balance : str
        A table of the classes, as HTML; may be empty.
    """
    parts = []
    if embedding_set is not None:
        parts.append(f"<h3>The embeddings</h3>\n{facts(_known(_of_set(embedding_set)))}{balance}")
    if head is not None:
        parts.append(f"<h3>The head</h3>\n{facts(_known(_of_head(head)))}")
    page = [("command", command), ("versions", _versions({p: version(p) for p in _PACKAGES}))]
    parts.append(f"<h3>This page</h3>\n{facts(_known(page))}")
    return section("provenance", "Where it came from", "", *parts)


def _of_set(embedding_set: EmbeddingSet) -> Iterator[Pair]:
    manifest = embedding_set.manifest
    yield "set", embedding_set.where
    yield "items", f"{len(embedding_set):,}{'' if embedding_set.finished else ', unfinished'}"
    yield "source", _sources(manifest.get("source") or {})
    yield "backbone", f"{embedding_set.model}, {embedding_set.dim:,} dimensions"
    yield "prompt", embedding_set.prompt
    yield "fingerprint", embedding_set.fingerprint
    yield "space", embedding_set.space
    yield "command", str(manifest.get("command") or "")
    yield "made", _times(manifest)
    yield "versions", _versions(manifest.get("versions"))


def _of_head(head: Head) -> Iterator[Pair]:
    header = head.header
    chosen = dict(header.get("chosen", {}))
    tuned = ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in chosen.items()
        if name not in {"head", "compared", "notes"}
    )
    yield "kind", f"{head.kind}{f' ({tuned})' if tuned else ''}"
    yield "task", head.task
    yield "temperature", f"{head.temperature:.4g}" if head.task == "classify" else ""
    if head.conformal is not None:
        yield "sets", f"{head.conformal.method}, coverage {head.conformal.coverage:g}"
    used = header.get("labels", {}).get("used")
    yield "trained on", f"{used:,} items" if isinstance(used, int) else ""
    yield "backbone", str(header.get("model", ""))
    yield "fingerprint", str(header.get("fingerprint", ""))
    yield "space", str(header.get("space", ""))
    yield "command", str(header.get("command") or "")
    yield "seed", str(header.get("seed", ""))
    yield "versions", _versions(header.get("versions"))


def _sources(source: Mapping[str, Any]) -> str:
    paths = [str(path) for each in each_source(source) for path in each.get("paths", ())]
    return ", ".join(paths)


def _times(manifest: Mapping[str, Any]) -> str:
    created, updated = (str(manifest.get(name) or "") for name in ("created", "updated"))
    return created if created == updated or not updated else f"{created}, changed {updated}"


def _versions(found: object) -> str:
    if not isinstance(found, Mapping):
        return ""
    return ", ".join(f"{name} {each}" for name, each in found.items())


def _known(pairs: Iterable[Pair]) -> Iterator[Pair]:
    """Yield what there is something to say of; what is too long is cut."""
    for name, value in pairs:
        if value:
            yield name, value if len(value) <= _LONGEST else f"{value[:_LONGEST]}…"
