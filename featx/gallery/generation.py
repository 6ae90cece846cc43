"""Generation: how the files of a gallery are written and take the place of the earlier ones.

A change of the parts writes new files beside the old ones, then ``gallery.json``, which names
them, whole; then one transaction of the log drops the changes that are in the parts now and notes
the generation; then the files that are not named any more are deleted.  Killed at any instant, the
gallery is the old or the new one, with every acknowledged change in the parts or in the log.

A reader that finds the log of a later generation than its ``gallery.json`` reads that again.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from featx.errors import StoreError
from featx.gallery.changelog import ChangeLog
from featx.gallery.folder import clean, read_facts, write_facts


def named_files(facts: Mapping[str, Any]) -> list[str]:
    """Return the names of the files that ``gallery.json`` names."""
    names = [part[key] for part in facts["parts"] for key in ("items", "order", "vectors", "norms")]
    names += [facts["index"]["file"], (facts["removed"] or {}).get("file")]
    return [name for name in names if name is not None]


def commit(path: Path, log: ChangeLog, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Make files that are written the gallery; return ``gallery.json``.

    Raises
    ------
    StoreError
        If the disk is full or fails: then either generation may be the gallery.
    """
    sizes = {name: (path / name).stat().st_size for name in named_files(facts)}
    facts = {**facts, "files": sizes}
    write_facts(path, facts)
    log.trim(int(facts["folded"]), int(facts["generation"]))
    clean(path, sizes)
    return facts


def next_number(path: Path, log: ChangeLog) -> int:
    """Return a number that no generation and no file of the gallery has."""
    found = [log.generation()]
    found += [int(number) for entry in path.iterdir() for number in _numbers(entry.name)]
    with suppress(StoreError):  # there is none yet, or it is to be replaced
        found.append(int(read_facts(path)["generation"]))
    return max(found) + 1


def _numbers(name: str) -> list[str]:
    return re.findall(r"-(\d{5,})-", name)
