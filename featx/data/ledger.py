"""``errors.jsonl``: what the last run could not embed, one JSON object a line."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from featx.data.files import explained
from featx.errors import StoreError

NAME = "errors.jsonl"


class Ledger:
    """The errors of one run, written as they come; `close` puts them in the place of the last.

    Parameters
    ----------
    folder : Path
        Of the set.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._unfinished = folder / f"{NAME}.part"
        self._ids: set[str] = set()
        with explained(self._unfinished):
            self._file = self._unfinished.open("w", encoding="utf-8", errors="backslashreplace")

    def add(self, entries: Iterable[tuple[str, str, str]]) -> None:
        """Write (id, uri, problem) of items that failed; an id is listed once."""
        with explained(self._unfinished):
            for item_id, uri, problem in entries:
                if item_id in self._ids:
                    continue
                self._ids.add(item_id)
                entry = {"id": item_id, "uri": uri, "problem": problem}
                self._file.write(json.dumps(entry, ensure_ascii=False) + "\n")
            self._file.flush()

    def keep_old(self) -> None:
        """Take over what the last run listed: this one ended early, and did not reach it all."""
        self.add(read_ledger(self._path.parent))

    def close(self) -> None:
        """Replace the list of the last run."""
        with explained(self._path):
            self._file.close()
            self._unfinished.replace(self._path)


def read_ledger(folder: Path) -> Iterator[tuple[str, str, str]]:
    """Yield (id, uri, problem) of what the last run could not embed.

    Raises
    ------
    StoreError
        If the list is damaged.
    """
    path = folder / NAME
    if not path.is_file():
        return
    with explained(path), path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                entry = json.loads(line)
                yield str(entry["id"]), str(entry["uri"]), str(entry["problem"])
            except (ValueError, KeyError, TypeError) as cause:
                message = f"{path}: line {number}: damaged; run featx embed again"
                raise StoreError(message) from cause
