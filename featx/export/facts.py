"""What an exported file says of itself and of its head."""

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from featx.heads.conformal import Method
from featx.types import Task
from featx.zoo.manifest import Manifest

Takes = Literal["embedding", "inputs", "pixels"]
"""What a file takes: embeddings, the inputs of its backbone, or pictures of any size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConformalFacts:
    """How sets of classes are made; see `featx.heads.conformal.Conformal`."""

    method: Method
    coverage: float
    quantiles: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadFacts:
    """What an exported file says of its head.

    Attributes
    ----------
    kind : str
        Of the head, or ``"gallery"``.
    takes : {"embedding", "inputs", "pixels"}
    precision : {"fp32", "fp16"}
        That weights of the backbone are stored in.
    model, modality, prompt : str
        Of the backbone.
    dim : int
    fingerprint, space : str
        Of the embeddings trained on.
    temperature : float
        That the graph divides by; for the record.
    conformal : ConformalFacts or None
    spread : tuple of float
        Of values: half the width of their intervals.
    metrics, chosen : dict
        As in the head.
    coverage : float or None
        What sets or intervals were made to reach.
    is_novelty_known : bool
        Whether the graph tells novel items.
    """

    kind: str
    takes: Takes
    precision: Literal["fp32", "fp16"]
    model: str
    modality: str
    dim: int
    fingerprint: str
    space: str
    prompt: str = ""
    temperature: float = 1.0
    conformal: ConformalFacts | None = None
    spread: tuple[float, ...] = ()
    coverage: float | None = None
    is_novelty_known: bool = False
    metrics: dict[str, Any] = field(default_factory=dict)
    chosen: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that an exported file says of itself.

    Attributes
    ----------
    task : {"classify", "multilabel", "regress"}
    classes : tuple of str
    head : HeadFacts
    manifest : Manifest or None
        None where the file holds the head alone.
    tokenizer : str
        Empty where there is none.
    digests : ndarray of uint8, shape (N, 32), or None
        None where there were too many items.
    """

    task: Task
    classes: tuple[str, ...]
    head: HeadFacts
    manifest: Manifest | None = None
    tokenizer: str = ""
    digests: NDArray[np.uint8] | None = None
