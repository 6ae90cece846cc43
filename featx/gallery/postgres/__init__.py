"""Galleries in PostgreSQL with pgvector: one table a server, ids spread over the servers by hash.

::

    X.knn/gallery.json       what the gallery is, and where its servers are (never a password)
    featx_<id>_items         on each server: row, facts and vector of each item, and the numbers of
                             the changes that added and removed it
    featx_<id>_state         on each server: version and space; on the first one the last change too
    featx_<id>_names         on the first server: labels and splits, and how many items have each

A change has a number.  Its rows are written on every server first; what makes it one of the
gallery is the number in the state of the first server, which is written last.  A reader asks that
number and leaves out what was added after it, so that it sees all of a change or nothing, and goes
on seeing what it saw, whoever writes.
"""

from featx.errors import MissingPackageError

try:
    import pgvector  # noqa: F401
    import psycopg  # noqa: F401
except ImportError as cause:
    raise MissingPackageError("psycopg or pgvector", "'featx[pg]'") from cause
