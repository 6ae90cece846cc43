"""Every error that featx raises on purpose.

::

    FeatxError
    ├── InputError             an argument, array or file cannot be used   (also ValueError)
    │   ├── ItemError          one item cannot be embedded; a run lists it and goes on
    │   ├── ManifestError      a model_zoo file is wrong
    │   ├── SpaceError         two sets of vectors must not be compared
    │   └── TakenError         an item of that id is there already
    ├── UnknownNameError       no backbone, head, index ... of that name   (also LookupError)
    ├── StoreError             something stored is missing, damaged or busy    (also OSError)
    │   ├── MissingError       a file is not there
    │   └── ChangedError       another writer was there first
    ├── DeviceError            the device that was asked for does not work  (also RuntimeError)
    │   └── DeviceMemoryError  a batch needs more memory than there is
    ├── ServerError            a service cannot be reached, or refuses     (also RuntimeError)
    └── MissingPackageError    a package is absent                          (also ImportError)

The command line prints each of these as one line; any other exception is a bug and keeps its
traceback.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class FeatxError(Exception):
    """Base of all errors that featx raises on purpose."""


class InputError(FeatxError, ValueError):
    """An argument, array or file cannot be used."""


class ItemError(InputError):
    """One item cannot be embedded; a run lists it and goes on."""


class ManifestError(InputError):
    """A model_zoo file is wrong."""


class SpaceError(InputError):
    """Two sets of vectors lie in different spaces and must not be compared."""


class TakenError(InputError):
    """An item of that id is there already."""


class UnknownNameError(FeatxError, LookupError):
    """No backbone, head, index or command has this name.

    Examples
    --------
    >>> print(UnknownNameError("head", "rigde", ["knn", "ridge"]))
    unknown head 'rigde'; did you mean 'ridge'?
    """

    def __init__(self, kind: str, name: str, known: "Iterable[str]", *, hint: str = "") -> None:
        from difflib import get_close_matches

        known = sorted(known)
        near = get_close_matches(name, known, n=1)
        nearest = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known) or 'none'}"
        super().__init__("; ".join(filter(None, (f"unknown {kind} {name!r}", nearest, hint))))


class StoreError(FeatxError, OSError):
    """Something on disk is missing, damaged, of a newer format or in use."""


class MissingError(StoreError):
    """A file is not there."""


class ChangedError(StoreError):
    """Another writer was there first; nothing was written."""


class DeviceError(FeatxError, RuntimeError):
    """The device that was asked for does not work."""


class DeviceMemoryError(DeviceError):
    """A batch needs more memory than the device has; a smaller one may fit."""


class ServerError(FeatxError, RuntimeError):
    """A service cannot be reached, or refuses what it is asked.

    Attributes
    ----------
    status : int or None
        Of HTTP; None where no answer came.
    code : str
        What the service calls it, which stays the same when the message changes.
    """

    def __init__(
        self, message: str, *, status: int | None = None, code: str = "unreachable"
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class MissingPackageError(FeatxError, ImportError):
    """A package is absent."""

    def __init__(self, package: str, install: str) -> None:
        super().__init__(f"{package} is not installed; run: pip install {install}")
