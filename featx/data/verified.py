"""The first use of a backbone on a machine compares golden vectors; later uses trust that.

What was found is remembered in the cache folder, by fingerprint, device and runtime version.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from featx.backbone.backbone import Backbone
from featx.backbone.golden import LEAST_COSINE, golden_cosines
from featx.backbone.runtime import runtime_version
from featx.data.files import write_json
from featx.errors import DeviceError, InputError, StoreError
from featx.zoo.catalog import golden_file

GOLDEN_ITEMS = 2

LEAST_FIDELITY = 0.98
"""Below it, vectors in another precision are no stand-in for the original's."""


@dataclass(frozen=True, slots=True)
class Fidelity:
    """How near the vectors of a precision are to the original's.

    Examples
    --------
    >>> print(Fidelity("int8", 0.99919, 0.99836, 14))
    int8: cosine to fp32 0.9991 on average, 0.9983 at least, 14 golden items
    """

    precision: str
    mean: float
    least: float
    items: int

    def __str__(self) -> str:
        mean, least = (int(value * 10_000) / 10_000 for value in (self.mean, self.least))
        return (
            f"{self.precision}: cosine to fp32 {mean:.4f} on average, {least:.4f} at least, "
            f"{self.items} golden items"
        )


def verify_once(backbone: Backbone, folder: Path | None) -> None:
    """Compare the first golden vectors, unless they were found good here before.

    Nothing is opened if they were.

    Parameters
    ----------
    backbone : Backbone
        One without golden vectors passes.
    folder : Path or None
        The user-wide cache, which remembers; without one the comparison is made each time.

    Raises
    ------
    DeviceError
        If this machine makes other vectors than the original weights.
    """
    if not _has_golden(backbone) or _key(backbone) in _read(folder):
        return
    worst = float(golden_cosines(backbone, first=GOLDEN_ITEMS).min())
    if not worst >= LEAST_COSINE:
        message = (
            f"{backbone.manifest.name}: on {backbone.device} its golden vectors come out "
            f"at cosine {worst:.6f}; at least {LEAST_COSINE} is needed; run: featx models verify"
        )
        raise DeviceError(message)
    _remember(folder, _key(backbone), worst)


def fidelity(backbone: Backbone, folder: Path | None) -> Fidelity:
    """Return how near all golden vectors are to the original's, measured once on a machine.

    Parameters
    ----------
    backbone : Backbone
        One that runs in another precision than its manifest's.
    folder : Path or None
        The user-wide cache, which remembers; without one it is measured each time.

    Returns
    -------
    Fidelity

    Raises
    ------
    InputError
        If the least cosine is below `LEAST_FIDELITY`, or nothing is there to measure it with.
    """
    if not _has_golden(backbone):
        message = (
            f"{backbone.manifest.name}: has no golden vectors to measure {backbone.precision} "
            "with; leave out --precision"
        )
        raise InputError(message)
    found = _remembered(backbone, folder) or _measured(backbone)
    if not found.least >= LEAST_FIDELITY:
        message = (
            f"{backbone.manifest.name}: {found}; at least {LEAST_FIDELITY} is needed; "
            f"leave out --precision"
        )
        raise InputError(message)
    _remember(folder, _key(backbone), [found.mean, found.least, found.items])
    return found


def _has_golden(backbone: Backbone) -> bool:
    own_width = backbone.dim == backbone.manifest.dim
    return own_width and golden_file(backbone.manifest).is_file()


def _key(backbone: Backbone) -> str:
    return f"{backbone.fingerprint} {backbone.device} {runtime_version()}"


def _measured(backbone: Backbone) -> Fidelity:
    cosines = golden_cosines(backbone)
    mean, least = float(cosines.mean()), float(cosines.min())
    return Fidelity(backbone.precision, mean, least, len(cosines))


def _remembered(backbone: Backbone, folder: Path | None) -> Fidelity | None:
    match _read(folder).get(_key(backbone)):
        case [float(mean), float(least), int(items)]:
            return Fidelity(backbone.precision, mean, least, items)
        case _:
            return None


def _read(folder: Path | None) -> dict[str, object]:
    if folder is None:
        return {}
    try:
        found = json.loads((folder / "verified.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _remember(folder: Path | None, key: str, value: object) -> None:
    """Add what was found; a cache that cannot be written forgets it."""
    known = _read(folder)
    if folder is None or known.get(key) == value:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "verified.json", known | {key: value})
    except (OSError, StoreError):
        return
