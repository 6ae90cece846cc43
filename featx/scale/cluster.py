"""What a Ray cluster has, and what a worker takes of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from featx.errors import InputError


@dataclass(frozen=True, slots=True)
class Share:
    """What one worker takes of its node.

    Attributes
    ----------
    cpus : int
        Also the threads that it encodes with.
    gpus : float
    """

    cpus: int
    gpus: float = 0.0

    @classmethod
    def of(cls, nodes: "Sequence[Node]", *, threads: int | None, gpus: float) -> Self:
        """Return the share that was asked for: one CPU, or those that go with its GPUs.

        Raises
        ------
        InputError
            If no node holds one worker; it would wait for ever.

        Examples
        --------
        >>> Share.of([Node(64, 8)], threads=None, gpus=1)
        Share(cpus=8, gpus=1)
        """
        if threads is None and gpus:
            per_gpu = [node.cpus / node.gpus for node in nodes if node.gpus >= gpus]
            threads = int(min(per_gpu, default=1) * gpus)
        share = cls(max(1, threads or 1), gpus)
        if not any(node.holds(share) for node in nodes):
            has = "; ".join(sorted({str(node) for node in nodes})) or "none"
            raise InputError(
                f"a worker takes {Node(share.cpus, share.gpus)}, and no node of the cluster has "
                f"that; nodes: {has}; ask for less with --threads or --gpus-per-worker, or add a "
                "larger node"
            )
        return share


@dataclass(frozen=True, slots=True)
class Node:
    """What a node has in all."""

    cpus: float
    gpus: float = 0.0

    @classmethod
    def all(cls, found: Sequence[Mapping[str, object]]) -> list[Self]:
        """Return the nodes of ``ray.nodes()`` that are alive."""
        nodes = []
        for node in found:
            resources = node.get("Resources")
            if node.get("Alive") and isinstance(resources, Mapping):
                cpus, gpus = (float(resources.get(name, 0)) for name in ("CPU", "GPU"))
                nodes.append(cls(cpus, gpus))
        return nodes

    def holds(self, share: Share) -> int:
        """Return how many workers fit on it.

        Examples
        --------
        >>> Node(6, 1).holds(Share(2)), Node(6, 1).holds(Share(2, 0.5))
        (3, 2)
        """
        count = int(self.cpus // share.cpus)
        return min(count, int(self.gpus // share.gpus)) if share.gpus else count

    def __str__(self) -> str:
        return f"{units(self.cpus, 'CPU')} and {units(self.gpus, 'GPU')}"


def units(count: float, name: str) -> str:
    """Return how many of a resource, in words.

    Examples
    --------
    >>> units(1, "GPU"), units(0.5, "GPU"), units(8, "CPU")
    ('1 GPU', '0.5 GPUs', '8 CPUs')
    """
    return f"{count:g} {name}{'s' * (count != 1)}"
