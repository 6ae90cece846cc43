"""How far an embedding run is."""

from dataclasses import dataclass

FIRST_ERRORS = 10


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an embedding run is; every item that is counted has been committed.

    Attributes
    ----------
    total : int
        Items of the source.
    kept : int
        Items that the set held already, unchanged.
    embedded, cached : int
        Items whose vector was computed now, or taken from the cache.
    errors : int
        Items that could not be embedded; ``errors.jsonl`` lists them all.
    truncated : int
        Items of which something was cut off.
    first_errors : tuple of (id, problem)
        The first ten.
    """

    total: int
    kept: int = 0
    embedded: int = 0
    cached: int = 0
    errors: int = 0
    truncated: int = 0
    first_errors: tuple[tuple[str, str], ...] = ()

    @property
    def done(self) -> int:
        """Items that have been dealt with, one way or another."""
        return self.kept + self.embedded + self.cached + self.errors
