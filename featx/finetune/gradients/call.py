"""A node of the forward graph, as the rule of its gradient sees it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from onnx import NodeProto, helper

from featx.errors import InputError

Gradients = Sequence[str | None]
"""Names of values, one for each input of a node; None, or nothing at the end, where none flows."""


@dataclass(frozen=True)
class Call:
    """A node, and the gradients of the loss with respect to what it made.

    Attributes
    ----------
    node : NodeProto
    gradients : sequence of str or None
        One for each output; None where the loss does not depend on it.
    """

    node: NodeProto
    gradients: Gradients

    @property
    def inputs(self) -> list[str]:
        """Names of what it reads, ``""`` for what is left out."""
        return list(self.node.input)

    @property
    def output(self) -> str:
        """Name of the first value that it makes."""
        return str(self.node.output[0])

    @property
    def gradient(self) -> str:
        """Name of the gradient with respect to the first output.

        Raises
        ------
        InputError
            If the loss depends on another output alone.
        """
        found = self.gradients[0]
        if found is None or any(self.gradients[1:]):
            raise self.refused("more than the first output is used")
        return found

    def input(self, place: int) -> str:
        """Return the name of an input, ``""`` where it is left out."""
        return str(self.node.input[place]) if place < len(self.node.input) else ""

    def attribute(self, name: str, default: Any = None) -> Any:  # noqa: ANN401
        """Return an attribute, texts as str."""
        for each in self.node.attribute:
            if each.name == name:
                value = helper.get_attribute_value(each)
                return value.decode() if isinstance(value, bytes) else value
        return default

    def refused(self, what: str) -> InputError:
        """Return an error that names this node, and what of it has no gradient."""
        operator = ":".join(filter(None, (self.node.domain, self.node.op_type)))
        return InputError(
            f"node {self.node.name or self.output!r} ({operator}): no gradient: {what};"
            " tune fewer blocks, so that it lies before the cut"
        )
