"""The first use of a backbone on a machine compares a few golden vectors; later uses trust that.

What was found good is remembered in the cache folder, by fingerprint, device and runtime version.
"""

import json
from pathlib import Path

from featx.backbone.backbone import Backbone
from featx.backbone.golden import LEAST_COSINE, golden_cosines
from featx.backbone.runtime import runtime_version
from featx.data.files import write_json
from featx.errors import DeviceError, StoreError
from featx.zoo.catalog import golden_file

GOLDEN_ITEMS = 2


def verify_once(backbone: Backbone, folder: Path | None) -> None:
    """Compare the first golden vectors, unless they were found good here before.

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
    if not golden_file(backbone.manifest).is_file() or backbone.dim != backbone.manifest.dim:
        return
    place = None if folder is None else folder / "verified.json"
    key = f"{backbone.fingerprint} {backbone.session.device} {runtime_version()}"
    known = {} if place is None else _read(place)
    if key in known:
        return
    worst = float(golden_cosines(backbone, first=GOLDEN_ITEMS).min())
    if worst < LEAST_COSINE:
        message = (
            f"{backbone.manifest.name}: on {backbone.session.device} its golden vectors come out "
            f"at cosine {worst:.6f}; at least {LEAST_COSINE} is needed; run: featx models verify"
        )
        raise DeviceError(message)
    if place is None:
        return
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        write_json(place, known | {key: worst})
    except (OSError, StoreError):
        return


def _read(place: Path) -> dict[str, float]:
    try:
        found = json.loads(place.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
