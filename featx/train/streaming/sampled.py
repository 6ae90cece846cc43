"""The sample of a set, as training reads a whole one."""

import numpy as np
import pyarrow as pa

from featx.data.store import EmbeddingSet
from featx.evaluate.labelled import LabelledRows
from featx.train.material import Material
from featx.train.streaming.plan import Plan
from featx.train.streaming.statistics import Sample


class SampledSet:
    """Rows of the sample, numbered from 0; a `featx.evaluate.labelled.LabelledSet`.

    Parameters
    ----------
    of : EmbeddingSet
    plan : Plan
    sample : Sample
    """

    def __init__(self, of: EmbeddingSet, plan: Plan, sample: Sample) -> None:
        self.fingerprint, self.space = of.fingerprint, of.space
        self.model, self.modality, self.prompt, self.dim = of.model, of.modality, of.prompt, of.dim
        self.where, self.set_id = of.where, of.set_id
        self.X = sample.X
        self.y = np.array(plan.classes, dtype=object)[sample.codes]
        self.items = pa.table({"id": sample.ids, "digest": sample.digests})
        digests = b"".join(bytes.fromhex(each).ljust(32, b"\0")[:32] for each in sample.digests)
        rows = LabelledRows(
            rows=np.arange(len(sample.rows)),
            X=sample.X,
            labels=self.y,
            digests=np.frombuffer(digests, dtype=np.uint8).reshape(-1, 32),
        )
        self.material = Material(task="classify", rows=rows, names=plan.classes, y=sample.codes)
