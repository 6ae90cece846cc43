"""How much of an embedding run may be under way at the same time."""

from dataclasses import dataclass

from featx.backbone.backbone import Backbone


@dataclass(frozen=True, slots=True)
class Room:
    """How much may be under way.

    Attributes
    ----------
    jobs : int
        Most items between the source and the caller.
    size_bytes : int
        Of samples that wait; reading pauses above it.
    chunk : int
        Items that a loader takes at once.
    """

    jobs: int
    size_bytes: int
    chunk: int


ROOMS = {
    "text": Room(jobs=2048, size_bytes=64 << 20, chunk=32),
    "image": Room(jobs=96, size_bytes=128 << 20, chunk=1),
    "audio": Room(jobs=64, size_bytes=128 << 20, chunk=1),
    "array": Room(jobs=4096, size_bytes=64 << 20, chunk=256),
}
OTHER_ROOM = Room(jobs=64, size_bytes=128 << 20, chunk=1)

GPU_ROOMS = 8
"""How many times as much may be under way for a GPU, so that its large batches can be filled."""


def room_for(backbone: Backbone) -> Room:
    """Return how much may be under way, by the modality and the kind of device."""
    usual = ROOMS.get(backbone.manifest.modality, OTHER_ROOM)
    times = 1 if backbone.device == "cpu" else GPU_ROOMS
    return Room(usual.jobs * times, usual.size_bytes * times, usual.chunk)
