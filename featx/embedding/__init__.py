"""From a source to an embedding set: what is missing is encoded, the rest is kept.

Yields progress and draws nothing.
"""

from featx.embedding.policy import Policy
from featx.embedding.progress import Progress
from featx.embedding.run import Run, embed, embed_all
from featx.embedding.stream import stream

__all__ = ["Policy", "Progress", "Run", "embed", "embed_all", "stream"]
