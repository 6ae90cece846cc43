"""The card of a backbone: what one wants to know of it first."""

import re
from typing import TypeGuard

from featx.onboard.fetch.files import readable
from featx.zoo.manifest import Manifest

SPEED = re.compile(r"(?P<what>\w+?)_per_(?P<of>cpu_)?s")


def card(manifest: Manifest) -> dict[str, str]:
    """Return size, dimension, speed, fidelity and licence of a backbone, for people."""
    size_bytes = sum(entry.size_bytes for entry in manifest.files.values())
    widths = ", ".join(map(str, manifest.dims))
    return {
        "size": readable(size_bytes),
        "dimension": f"{manifest.dim}{widths and f' (may be cut to {widths})'}",
        "speed": _speed(manifest) or "not measured",
        "fidelity": _fidelity(manifest),
        "licence": manifest.license,
    }


def _speed(manifest: Manifest) -> str:
    found = [
        f"{value:g} {match['what'].replace('_', ' ')} a {'CPU ' if match['of'] else ''}second"
        for key, value in manifest.measured.items()
        if (match := SPEED.fullmatch(key)) and _is_number(value)
    ]
    threads = manifest.measured.get("threads")
    plural = "" if threads == 1 else "s"
    return "; ".join(found) + (f" ({threads} thread{plural})" if found and threads else "")


def _fidelity(manifest: Manifest) -> str:
    measured = manifest.measured
    least = measured.get("cosine_to_reference_min")
    if _is_number(least):
        return f"least cosine {least:.6f} to {measured.get('reference', 'a reference')}"
    most = measured.get("one_minus_cosine_to_original_max")
    if _is_number(most):
        return f"least cosine {1 - most:.6f} to the original weights"
    return "not compared with the original weights; add it with --reference FILE"


def _is_number(value: object) -> TypeGuard[float]:
    """Return whether a measured fact, which may be anything that TOML has, is a number."""
    return isinstance(value, int | float) and not isinstance(value, bool)
