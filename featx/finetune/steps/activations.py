"""Values at a cut of all items, ready to be fed to the tail in any company."""

from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike, NDArray
from onnx import helper

from featx.data.files import explained
from featx.errors import InputError
from featx.finetune.steps.body import Body
from featx.finetune.steps.targets import Feeds
from featx.types import Rows

FROM_LENGTHS = {"attention_mask", "token_type_ids"}
"""Inputs that follow from how many tokens a text has."""


class Activations:
    """What the body makes of one view of each of N items.

    Parameters
    ----------
    body : Body
    path : Path
        File of the values.
    spans : ndarray of int64, shape (N, 2)
        First row and number of rows of each; no rows where an item has no values.
    dtype : dtype
        Of the values.
    owner : object
        What has to live as long as the file does.

    Attributes
    ----------
    lengths : ndarray of int64, shape (N,)
        Tokens of each item; 1 where items have one shape.

    Raises
    ------
    InputError
        If the tail reads inputs that do not follow from the lengths.
    StoreError
        If the file cannot be read.
    """

    def __init__(
        self,
        body: Body,
        path: Path,
        spans: NDArray[np.int64],
        *,
        dtype: DTypeLike,
        owner: object = None,
    ) -> None:
        self._body, self._spans, self._owner = body, spans, owner
        self._inputs = extra_inputs(body)
        self.lengths = np.ascontiguousarray(spans[:, 1])
        rows = int(spans.sum(axis=1).max(initial=0))  # the file may grow behind them
        self._values: NDArray[np.floating] = np.empty((0, body.width), dtype)
        if rows:
            with explained(path):
                self._values = np.memmap(path, dtype, mode="r", shape=(rows, body.width))

    def __len__(self) -> int:
        return len(self._spans)

    def feeds(self, rows: Rows, *, length: int = 0, size: int | None = None) -> Feeds:
        """Return the tail's inputs for some items, the values at the cut first, in float32.

        Parameters
        ----------
        rows : ndarray of int64, shape (B,)
        length : int
            To which texts are padded, at least the longest; 0 for the longest.
        size : int or None
            Rows to return, at least B: copies of the first follow, which are to weigh nothing.
        """
        filled = np.concatenate([rows, np.repeat(rows[:1], (size or len(rows)) - len(rows))])
        starts, counts = self._spans[filled].T
        shape = self._body.item_shape
        if not self._body.length_axes:
            values = self._values[starts].astype(np.float32)
            return {self._body.cut.tensor: values.reshape(-1, *shape)}
        length = length or int(counts.max())
        values = np.zeros((len(filled), length, self._body.width), dtype=np.float32)
        for row, start, count in zip(values, starts, counts, strict=True):
            row[:count] = self._values[start : start + count]
        (axis,) = self._body.length_axes
        at_cut = np.moveaxis(values.reshape(len(filled), length, *shape), 1, axis)
        return {self._body.cut.tensor: at_cut} | self._others(counts, length)

    def _others(self, counts: NDArray[np.int64], length: int) -> Feeds:
        is_token = np.arange(length) < counts[:, None]
        made = {"attention_mask": is_token, "token_type_ids": np.zeros_like(is_token)}
        return {name: made[role].astype(dtype) for name, (role, dtype) in self._inputs.items()}


def extra_inputs(body: Body) -> dict[str, tuple[str, np.dtype[np.generic]]]:
    """Return the tail's inputs behind the cut: name → role and type.

    Raises
    ------
    InputError
        If one of them does not follow from the lengths of texts.
    """
    roles = {name: role for role, name in body.manifest.inputs.items()}
    found = {}
    for item in body.split.tail.graph.input[1:]:
        role = roles[item.name]
        if role not in FROM_LENGTHS or not body.length_axes:
            message = (
                f"cut {body.cut.tensor!r}: what comes after it reads the input {item.name!r}"
                " itself, which is not kept; choose another cut"
            )
            raise InputError(message)
        kind = helper.tensor_dtype_to_np_dtype(item.type.tensor_type.elem_type)
        found[item.name] = role, kind
    return found
