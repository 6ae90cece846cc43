"""A backbone up to a cut: it encodes as the whole does, but gives the values at the cut."""

from collections.abc import Sequence
from functools import cached_property
from math import prod

import numpy as np

from featx.backbone.backbone import Backbone, bucketed
from featx.backbone.runtime import Session, open_session
from featx.errors import InputError
from featx.finetune.graph.cuts import Cut
from featx.finetune.graph.split import Split
from featx.fingerprint import hash_facts
from featx.types import Sample, Vectors

REVISION = 1
"""Raised by one whenever a body gives other values; part of the fingerprint."""


class Body(Backbone):
    """The frozen part of a backbone.

    Parameters
    ----------
    backbone : Backbone
    split : Split

    Raises
    ------
    InputError
        If an item's values at the cut have no shape that is known.
    """

    def __init__(self, backbone: Backbone, split: Split) -> None:
        super().__init__(
            backbone.manifest,
            backbone.settings,
            prompt=backbone.facts["prompt"],
            dim=backbone.dim,
        )
        self.split = split
        sizes = [size for size in self.cut.shape[1:] if size != "length"]
        if not all(isinstance(size, int) for size in sizes) or len(self.length_axes) > 1:
            shape = ", ".join(map(str, self.cut.shape))
            message = (
                f"cut {self.cut.tensor!r}: its values have the shape ({shape}), of which no item's"
                " share can be told; choose another cut"
            )
            raise InputError(message)

    @property
    def cut(self) -> Cut:
        """Where the body ends."""
        return self.split.cut

    @property
    def length_axes(self) -> list[int]:
        """The axis along which the tokens of a text lie, if there is one."""
        return [axis for axis, size in enumerate(self.cut.shape) if size == "length"]

    @property
    def item_shape(self) -> tuple[int, ...]:
        """Shape of an item's values; of one of its tokens where the items are texts."""
        return tuple(size for size in self.cut.shape[1:] if isinstance(size, int))

    @property
    def width(self) -> int:
        """Numbers in `item_shape`."""
        return prod(self.item_shape)

    @cached_property
    def session(self) -> Session:
        """The graph up to the cut, loaded."""
        content = self.split.body.SerializeToString()
        return open_session(
            content,
            device=self.device,
            threads=self.settings.threads_each,
            deterministic=self.settings.deterministic,
        )

    def let_go(self) -> None:
        """Close the session, which keeps memory for as long as it lives; another opens at need."""
        self.__dict__.pop("session", None)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of every fact that changes a value at the cut."""
        return hash_facts(
            {
                "featx-body": REVISION,
                "backbone": super().fingerprint,
                "cut": self.cut.tensor,
                "shape": list(self.cut.shape),
            }
        )

    def encode_batch(self, samples: Sequence[Sample]) -> Vectors:
        """Return the values of each sample in one row, tokens first and padding after them."""
        roles = self.modality.collate(samples)
        if self.manifest.modality == "text" and self.device != "cpu":
            roles = bucketed(roles)
        names = {name: role for role, name in self.manifest.inputs.items()}
        feeds = {name: roles[names[name]] for name in self.session.inputs}
        (values,) = self.session.run([self.cut.tensor], feeds)
        for axis in self.length_axes:
            values = np.moveaxis(values, axis, 1)
        rows: Vectors = np.ascontiguousarray(values, dtype=np.float32)
        return rows.reshape(len(samples), -1)
