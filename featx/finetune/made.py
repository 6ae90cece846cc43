"""All that a run made of a source, before anything is written."""

from dataclasses import dataclass

from featx.finetune.folds import Plan
from featx.finetune.gathered import Gathered
from featx.finetune.learner import Learner
from featx.finetune.material import Material
from featx.finetune.prepared import Prepared
from featx.finetune.search import Found


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """All that a run made of a source.

    Attributes
    ----------
    prepared : Prepared
    gathered : Gathered
    material : Material
    plan : Plan
    learner : Learner
    found : Found
    examples : list of bytes
        Some items that judge, as they are read: their files may be gone when training is over.
    """

    prepared: Prepared
    gathered: Gathered
    material: Material
    plan: Plan
    learner: Learner
    found: Found
    examples: list[bytes]
