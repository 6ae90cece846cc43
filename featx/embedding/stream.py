"""Embeddings of items that come one after the other, in constant memory."""

from collections.abc import Iterable, Iterator, Sequence

from featx.backbone.backbone import Backbone
from featx.backbone.job import Job
from featx.backbone.pipeline import Pipeline
from featx.embedding.policy import LOADERS
from featx.errors import ItemError
from featx.types import Content, Vectors


def stream(
    contents: Iterable[Content], backbone: Backbone, *, loaders: int = LOADERS
) -> Iterator[Vectors | ItemError]:
    """Yield the vector of each content, shape (D,), in order; an error where there is none.

    Contents are taken only as fast as vectors are; nothing is stored.
    """

    def load(jobs: Sequence[Job[Content]]) -> None:
        readable, raws = [], []
        for job in jobs:
            try:
                raws.append(backbone.read(job.what))
                readable.append(job)
            except ItemError as error:
                job.settle(problem=str(error))
        for job, sample in zip(readable, backbone.load_many(raws), strict=True):
            if isinstance(sample, ItemError):
                job.settle(problem=str(sample))
            else:
                job.sample = sample

    pipeline = Pipeline[Content](backbone.replicas(), load, loaders=loaders)
    for jobs in pipeline.run(Job(content) for content in contents):
        for job in jobs:
            yield ItemError(job.problem) if job.vector is None else job.vector
