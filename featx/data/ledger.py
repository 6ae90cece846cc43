"""``errors.jsonl``: what the last run could not embed, one JSON object a line."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from featx.data.files import explained
from featx.errors import StoreError

NAME = "errors.jsonl"


class Failure(NamedTuple):
    """One item that could not be embedded; `label` and `split` are those of the row it had."""

    id: str
    uri: str
    problem: str
    label: str | None = None
    split: str | None = None


class Ledger:
    """The errors of one run, written as they come; `close` puts them in the place of the last.

    Parameters
    ----------
    folder : Path
        Of the set.

    Attributes
    ----------
    had : dict of str to Failure
        Items of the last list that had a label or split, perhaps given by ``featx label``: they
        get it back when they are embedded again.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._unfinished = folder / f"{NAME}.part"
        self._ids: set[str] = set()
        self.had = {failure.id: failure for failure in read_ledger(folder) if any(failure[3:])}
        with explained(self._unfinished):
            self._file = self._unfinished.open("w", encoding="utf-8", errors="backslashreplace")

    def add(self, failures: Iterable[Failure]) -> None:
        """List items that failed; an id is listed once."""
        with explained(self._unfinished):
            for failure in failures:
                if failure.id in self._ids:
                    continue
                self._ids.add(failure.id)
                entry = {
                    key: value for key, value in failure._asdict().items() if value is not None
                }
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


def read_ledger(folder: Path) -> Iterator[Failure]:
    """Yield what the last run could not embed.

    Raises
    ------
    StoreError
        If the list is damaged.
    """
    path = folder / NAME
    if not path.is_file():
        return
    with explained(path), path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                yield Failure(**json.loads(line))
            except (ValueError, TypeError) as cause:
                mend = "delete that line and run the command again"
                message = f"{path}: line {number}: damaged; {mend}"
                raise StoreError(message) from cause
