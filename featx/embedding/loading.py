"""What a loader thread does: read, find the digest, and decode what no one has a vector of."""

from collections.abc import Sequence

from featx.backbone.backbone import Backbone
from featx.embedding.intake import Known, keep_if_unchanged
from featx.embedding.policy import REFUSED, Policy
from featx.embedding.task import Work
from featx.errors import ItemError
from featx.fingerprint import digest
from featx.types import Sample


class Loader:
    """Gives work its sample, or settles it; safe to call from several threads."""

    def __init__(self, backbone: Backbone, known: Known, policy: Policy) -> None:
        self._backbone = backbone
        self._known = known
        self._policy = policy

    def load(self, works: Sequence[Work]) -> None:
        """Read and decode; each file is read once, and no content is held on to."""
        raws = {id(work): self._read(work) for work in works}
        for work in works:
            work.what.let_go()
        unsettled = [work for work in works if not work.is_settled]
        missing = self._known.settle_cached(unsettled, self._policy)
        if not missing:
            return
        contents = [raws[id(work)] for work in missing]
        samples = self._backbone.load_many(contents)
        for work, raw, sample in zip(missing, contents, samples, strict=True):
            if isinstance(sample, ItemError):
                work.settle(problem=str(sample))
            else:
                self._accept(work, raw, sample)

    def _read(self, work: Work) -> bytes:
        try:
            raw = self._backbone.read(work.what.content)
        except ItemError as error:
            work.settle(problem=str(error))
            return b""
        work.what.digest = digest(raw)
        keep_if_unchanged(work, self._policy)
        return raw

    def _accept(self, work: Work, raw: bytes, sample: Sample) -> None:
        if sample.truncated and self._policy.on_truncate == "error":
            longest = self._backbone.manifest.max_length
            work.settle(
                problem=f"has {sample.n_tokens} tokens; {REFUSED} {longest}; "
                "cut it, or use --on-truncate chunk"
            )
            return
        work.what.seen = {
            "n_tokens": sample.n_tokens,
            "truncated": sample.truncated,
            "preview": self._backbone.modality.preview(raw),
        }
        work.sample, work.key = sample, work.what.digest
