"""What the hub's client raises, in one line that says what to do."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from featx.data.files import explained
from featx.errors import FeatxError, InputError, ServerError
from featx.onboard.fetch.origin import Origin

TRUE = {"1", "ON", "YES", "TRUE"}

LOG_IN = "set HF_TOKEN, or run: hf auth login"

REASONS = {
    "GatedRepoError": ("gated", f"gated; accept its terms on its page, and {LOG_IN}"),
    "RepositoryNotFoundError": (
        "not_found",
        f"no such repository, or a private one; check the name, or {LOG_IN}",
    ),
    "RevisionNotFoundError": ("moved", "no such revision, or no longer; choose another"),
    "RemoteEntryNotFoundError": ("not_found", "no such file at this revision"),
}
"""Errors of the client, by name, since versions keep them in different modules."""


HINTS = {401: LOG_IN, 403: LOG_IN, 404: f"check name and revision, or {LOG_IN}"}
"""Status → what to do, where the hub does not say what is the matter."""


OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
"""Variables that keep the client from the network, the first one that is set."""

OF_DISKS = {
    errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM,
    errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.EFBIG,
}  # fmt: skip
"""Numbers of errors that no network makes; those of the client's own have none."""


def is_offline() -> bool:
    """Return whether the client may not use the network."""
    return os.environ.get(_set_one(), "").upper() in TRUE


def _set_one() -> str:
    """Return the variable that decides."""
    return next((name for name in OFFLINE if os.environ.get(name)), OFFLINE[0])


@contextmanager
def explained_hub(origin: Origin) -> Iterator[None]:
    """Turn what the client raises into a `ServerError`, an `InputError` or a `StoreError`."""
    try:
        yield
    except (OSError, ValueError) as cause:
        if isinstance(cause, OSError) and cause.errno in OF_DISKS:
            with explained(Path(cause.filename or "the hub's cache")):
                raise
        raise refusal(origin, cause) from cause
    except Exception as cause:
        # What its HTTP library raises comes through, and differs between versions.
        if "http" not in type(cause).__module__:
            raise
        raise refusal(origin, cause) from cause


def refusal(origin: Origin, cause: Exception) -> FeatxError:
    """Return the error for what the client raised."""
    status = _status(cause) or _status(cause.__cause__)
    for kind in type(cause).__mro__:
        if kind.__name__ in REASONS:
            code, reason = REASONS[kind.__name__]
            return ServerError(f"{origin}: {reason}", status=status, code=code)
    if is_offline():
        reason = f"not in the hub's cache, and {_set_one()} is set; unset it"
        return ServerError(f"{origin}: {reason}", code="offline")
    if "OfflineModeIsEnabled" in {type(cause).__name__, type(cause.__cause__).__name__}:
        # The client reads the variables once.
        reason = (
            f"{' or '.join(OFFLINE)} was set when the hub's client was loaded; start Python again"
        )
        return ServerError(f"{origin}: {reason}", code="offline")
    if status is not None:
        hint = HINTS.get(status, "try again later")
        message = f"{origin}: the hub answered {status}; {hint}"
        return ServerError(message, status=status, code="refused")
    if isinstance(cause, ValueError):
        return InputError(f"{origin}: {_line(cause)}")
    message = (
        f"{origin}: the hub cannot be reached: {_line(cause.__cause__ or cause)}; without a "
        "network, set HF_HUB_OFFLINE=1 to use what was fetched before"
    )
    return ServerError(message)


def _status(cause: BaseException | None) -> int | None:
    found = getattr(getattr(cause, "response", None), "status_code", None)
    return found if isinstance(found, int) else None


def _line(cause: BaseException) -> str:
    return next(iter(str(cause).splitlines()), "") or type(cause).__name__
