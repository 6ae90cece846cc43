"""Shape of ``gallery.json``: which keys it must have, and what their values are."""

import re
from collections.abc import Callable, Mapping
from typing import Any, get_args

from featx.index import INDEXES
from featx.index.metric import METRICS
from featx.index.voting import Weights

Fits = Callable[[Any], bool]


def _of(*types: type, least: float | None = None) -> Fits:
    def fits(value: Any) -> bool:  # noqa: ANN401
        if isinstance(value, bool) or not isinstance(value, types):
            return False
        return least is None or value is None or bool(value >= least)  # type: ignore[operator]

    return fits


def _counts(value: object) -> bool:
    return isinstance(value, dict) and all(map(_COUNT, value.values()))


def _texts(value: object) -> bool:
    return isinstance(value, dict) and all(map(_TEXT, value.values()))


_COUNT, _SIZE = _of(int, least=0), _of(int, least=1)
_TEXT, _TEXT_OR_NONE, _LIST = _of(str), _of(str, type(None)), _of(list)
_NUMBER_OR_NONE, _POSITIVE = _of(int, float, type(None)), _of(int, float, least=5e-324)

_MADE: dict[str, Fits] = {
    **dict.fromkeys(("model", "modality", "prompt", "space", "fingerprint"), _TEXT),
    "dim": _SIZE,
    "metric": METRICS.__contains__,
}
_GALLERY: dict[str, Fits] = {
    **_MADE,
    **dict.fromkeys(("generation", "folded", "changes"), _COUNT),
    "k": _SIZE,
    "temperature": _POSITIVE,
    "novel_below": _NUMBER_OR_NONE,
    "files": _counts,
    "parts": _LIST,
    "vote": get_args(Weights).__contains__,
}
_POSTGRES: dict[str, Fits] = {
    **_MADE,
    "id": lambda value: isinstance(value, str) and bool(re.fullmatch("[0-9a-f]{16}", value)),
    "storage": ("halfvec", "vector").__contains__,
    "servers": lambda value: isinstance(value, list) and bool(value),
}
_SERVER = {"schema": _TEXT}
_SET = {"path": _TEXT, "set_id": _TEXT, "segments": _LIST, "items": _LIST, "rows": _COUNT}
_INDEX: dict[str, Fits] = {
    "kind": list(INDEXES).__contains__,
    "asked": ["auto", *INDEXES].__contains__,
    "settings": _counts,
    "recall": _POSITIVE,
    "rows": _COUNT,
    "file": _TEXT_OR_NONE,
    "digest": _TEXT_OR_NONE,
}
_METRICS = {
    **dict.fromkeys(("accuracy", "recall", "latency_ms"), _NUMBER_OR_NONE),
    **dict.fromkeys(("n", "size_bytes"), _COUNT),
}
_PART = {
    "rows": _COUNT,
    **dict.fromkeys(("items", "order"), _TEXT),
    **dict.fromkeys(("vectors", "norms"), _TEXT_OR_NONE),
}
_REMOVED = {"file": _TEXT, "count": _COUNT, "blanked": _COUNT}
_OF_FILES: dict[str, Fits] = {"candidates": _COUNT, "trained": _COUNT}
"""Settings of every kind of index that has a file."""


def misfit(facts: Mapping[str, Any]) -> str | None:
    """Return what of ``gallery.json`` is not as it must be, None if all is."""
    backend = facts.get("backend", "files")
    if backend == "pgvector":
        return _misfit_of_postgres(facts)
    if backend != "files":
        return f"'backend' is {backend!r:.40}"
    if found := _wrong("gallery", facts, _GALLERY):
        return found
    known = [(name, facts.get(name), wanted) for name, wanted in _OBJECTS]
    known += [(f"parts[{at}]", part, _PART) for at, part in enumerate(facts["parts"])]
    if facts.get("removed", 0) is not None:
        known.append(("removed", facts.get("removed"), _REMOVED))
    if found := next((wrong for each in known if (wrong := _wrong(*each))), None):
        return found
    index = facts["index"]
    return index["file"] and _wrong("settings", index["settings"], _OF_FILES)


def _misfit_of_postgres(facts: Mapping[str, Any]) -> str | None:
    if found := _wrong("gallery", facts, _POSTGRES):
        return found
    known = [("set", facts.get("set"), _SET)]
    known += [(f"servers[{at}]", each, _SERVER) for at, each in enumerate(facts["servers"])]
    if found := next((wrong for each in known if (wrong := _wrong(*each))), None):
        return found
    for at, each in enumerate(facts["servers"]):
        if not _texts(each.get("dsn")):  # not repeated: somebody may have put a password into it
            return f"'dsn' of 'servers[{at}]' is missing, or no object of texts"
    return None


_OBJECTS = (("set", _SET), ("index", _INDEX), ("metrics", _METRICS))


def _wrong(name: str, values: object, wanted: Mapping[str, Fits]) -> str | None:
    if not isinstance(values, dict):
        return f"{name!r} is no object"
    for key, fits in wanted.items():
        if key not in values:
            return f"{key!r} of {name!r} is missing"
        if not fits(values[key]):
            return f"{key!r} of {name!r} is {values[key]!r:.40}"
    return None
