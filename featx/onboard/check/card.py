"""The card of a backbone: what one wants to know of it first."""

import re

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
        if (match := SPEED.fullmatch(key))
    ]
    threads = manifest.measured.get("threads")
    return "; ".join(found) + (f" ({threads} threads)" if found and threads else "")


def _fidelity(manifest: Manifest) -> str:
    measured = manifest.measured
    if "cosine_to_reference_min" in measured:
        least = measured["cosine_to_reference_min"]
        return f"least cosine {least:.6f} to {measured.get('reference', 'a reference')}"
    if "one_minus_cosine_to_original_max" in measured:
        least = 1 - measured["one_minus_cosine_to_original_max"]
        return f"least cosine {least:.6f} to the original weights"
    return "not compared with the original weights; add it with --reference FILE"
