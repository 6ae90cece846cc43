"""Training a tail and its head: parameters stay on the device from step to step."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, numpy_helper

from featx.backbone.binding import Resident
from featx.backbone.runtime import Bound, Session, open_session
from featx.backbone.settings import Settings
from featx.errors import InputError
from featx.finetune.steps.loss import HEAD_BIAS, HEAD_WEIGHT, LOGITS, LOSS, TARGETS
from featx.finetune.steps.optimiser import FIRST, NEW, SECOND, START, Optimiser
from featx.finetune.steps.step import build_step, with_head

Feeds = Mapping[str, NDArray[Any]]
Floats = NDArray[np.float32]
Head = tuple[Floats, Floats]
"""Weights (C, D) and intercepts (C,)."""

IDLE = 1e-6
"""Gradients below this share of the largest are rounding errors of what is 0, such as that of the
bias of an attention's keys; Adam would make steps as large as any other of them."""


class Trainer:
    """A tail and a head that are trained together, by steps that are graphs of their own.

    Of parameters and moments there are two sets on the device: a step reads one and writes the
    other, and then they change roles.  Steps for batches of other shapes share them.

    Parameters
    ----------
    tail : ModelProto
        As `split` makes it; not changed.
    parameters : sequence of str
        Names of its initializers that are trained; none trains the head alone.
    head : (ndarray of float32 (C, D), ndarray of float32 (C,))
        Where the head starts.
    optimiser : Optimiser or None
    settings : Settings or None
        Device and threads.
    """

    def __init__(
        self,
        tail: ModelProto,
        parameters: Sequence[str],
        *,
        head: Head,
        optimiser: Optimiser | None = None,
        settings: Settings | None = None,
    ) -> None:
        self.optimiser = optimiser or Optimiser()
        self._tail = tail
        self._names = tuple(parameters)
        self._first_head = head
        self._settings = settings or Settings()
        self._steps: dict[tuple[Any, ...], tuple[Session, list[Bound]]] = {}
        self._turn = self._count = 0

    @cached_property
    def _starts(self) -> dict[str, Floats]:
        arrays = {tensor.name: tensor for tensor in self._tail.graph.initializer}
        return {name: numpy_helper.to_array(arrays[name]) for name in self._names}

    @cached_property
    def _shapes(self) -> dict[str, tuple[int, ...]]:
        W, b = self._first_head
        shapes = {name: array.shape for name, array in self._starts.items()}
        return shapes | {HEAD_WEIGHT: W.shape, HEAD_BIAS: b.shape}

    @cached_property
    def _forward(self) -> Session:
        return self._open(with_head(self._tail, self._shapes))

    @cached_property
    def _states(self) -> list[dict[str, Resident]]:
        """Parameters and moments, twice."""
        zeros = {name: np.zeros(shape, np.float32) for name, shape in self._shapes.items()}
        names = [(name, before + name) for name in zeros for before in ("", FIRST, SECOND)]
        states = [{each: self._forward.put(zeros[name]) for name, each in names} for _ in range(2)]
        W, b = self._first_head
        _write(states[self._turn], {**self._starts, HEAD_WEIGHT: W, HEAD_BIAS: b})
        return states

    @cached_property
    def _pulls(self) -> dict[str, Resident]:
        """Where the parameters started, if they are pulled there."""
        starts = self._starts if self.optimiser.l2_sp else {}
        return {START + name: self._forward.put(array) for name, array in starts.items()}

    @cached_property
    def _evaluations(self) -> list[Bound]:
        """The tail and head with each of the two sets."""
        return [
            self._forward.bind({name: state[name] for name in self._shapes}, {})
            for state in self._states
        ]

    @property
    def device(self) -> str:
        """Where it runs: ``"cpu"`` or ``"cuda:<n>"``."""
        return self._forward.device

    def check(self, feeds: Feeds) -> None:
        """Make the step for batches of this shape, if there is none; `step` does so by itself.

        Raises
        ------
        InputError
            If an operator of the tail has no gradient, or the loss does not depend on a parameter.
        """
        self._step(feeds)

    def step(self, feeds: Feeds, targets: Floats, weights: Floats, rate: float) -> float:
        """Take one step, and return the loss before it.

        Parameters
        ----------
        feeds : mapping of str to ndarray, first axis B
            Inputs of the tail.  Each shape has a graph of its own, so batches that are not full
            are best filled up with copies of weight 0 (`Activations.feeds` does so).
        targets : ndarray of float32, shape (B, C)
            Probabilities of the classes.
        weights : ndarray of float32, shape (B,)
            Of the items; not all 0.
        rate : float
            Learning rate.

        Returns
        -------
        float
            Mean cross-entropy of the items, by their weights.  If it is not finite, parameters
            and moments are as they were.

        Raises
        ------
        InputError
            If no row has a weight, or as `check` does.
        DeviceMemoryError
            If the device has not enough memory.
        """
        bounds = self._step(batch := self._batch(feeds, targets, weights))[1]
        numbers = self.optimiser.numbers(self._count + 1, rate)
        (loss,) = bounds[self._turn].run([LOSS], {**batch, **numbers})
        if np.isfinite(loss):
            self._count += 1
            self._turn = 1 - self._turn
        return float(loss)

    def gradients(self, feeds: Feeds, targets: Floats, weights: Floats) -> dict[str, Floats]:
        """Return the gradient of a step by parameter, the head's included; nothing is changed.

        The pull toward the start is part of it.
        """
        session, _ = self._step(batch := self._batch(feeds, targets, weights))
        # A first moment is beta1 * 0 + gradient where it was 0.
        now, scratch = self._states[self._turn], self._states[1 - self._turn]
        zeros = {
            before + name: session.put(np.zeros(shape, np.float32))
            for name, shape in self._shapes.items()
            for before in (FIRST, SECOND)
        }
        bound = session.bind({**self._pulls, **now, **zeros}, _renewed(scratch))
        bound.run([LOSS], {**batch, **self.optimiser.numbers(1, 0.0)})
        return {name: scratch[FIRST + name].read() for name in self._shapes}

    def idle(self, feeds: Feeds, targets: Floats, weights: Floats) -> list[str]:
        """Return parameters whose gradient is 0 but for rounding errors: not worth training."""
        gradients = self.gradients(feeds, targets, weights)
        largest = {name: float(np.abs(array).max()) for name, array in gradients.items()}
        least = IDLE * max(largest.values())
        return [name for name in self._names if largest[name] <= least]

    def logits(self, feeds: Feeds) -> Floats:
        """Return the head's logits of any number of rows, shape (B, C)."""
        return self._evaluated(LOGITS, feeds)

    def embeddings(self, feeds: Feeds) -> Floats:
        """Return the tail's output for any number of rows, shape (B, D)."""
        return self._evaluated(self._tail.graph.output[0].name, feeds)

    def parameters(self) -> dict[str, Floats]:
        """Return copies of all parameters by name, the head's `HEAD_WEIGHT` and `HEAD_BIAS` too."""
        state = self._states[self._turn]
        return {name: state[name].read() for name in self._shapes}

    def restore(self, parameters: Mapping[str, Floats]) -> None:
        """Take these values of all parameters, the head's too, and forget the moments."""
        zeros = {
            before + name: np.zeros(shape, np.float32)
            for name, shape in self._shapes.items()
            for before in (FIRST, SECOND)
        }
        _write(self._states[self._turn], zeros | {name: parameters[name] for name in self._shapes})
        self._count = 0

    def _evaluated(self, output: str, feeds: Feeds) -> Floats:
        (result,) = self._evaluations[self._turn].run([output], feeds)
        values: Floats = result
        return values

    def _step(self, feeds: Feeds) -> tuple[Session, list[Bound]]:
        """Return the step for this shape, bound to read either set and to write the other."""
        inputs = [item.name for item in self._tail.graph.input]
        key = tuple((name, feeds[name].shape) for name in inputs if name in feeds)
        if key not in self._steps:
            own = {name: feeds[name] for name, _ in key}
            model = build_step(self._tail, self._shapes, own, optimiser=self.optimiser)
            session = self._open(model)
            bounds = [
                session.bind({**self._pulls, **old}, _renewed(new))
                for old, new in (self._states, self._states[::-1])
            ]
            self._steps[key] = session, bounds
        return self._steps[key]

    def _open(self, model: ModelProto) -> Session:
        device, threads = self._settings.device, self._settings.all_threads
        content = model.SerializeToString()
        return open_session(content, device=device, threads=threads, bound=False, trains=True)

    def _batch(self, feeds: Feeds, targets: Floats, weights: Floats) -> dict[str, NDArray[Any]]:
        """Return all inputs of a step but the optimiser's."""
        total = float(weights.sum())
        if not total > 0:
            message = f"batch: its weights sum to {total:g}; expected some above 0"
            raise InputError(message)
        shares = targets * (weights / total)[:, None]
        return {**feeds, TARGETS: shares.astype(np.float32, copy=False)}


def _renewed(state: Mapping[str, Resident]) -> dict[str, Resident]:
    return {NEW + name: array for name, array in state.items()}


def _write(state: Mapping[str, Resident], values: Mapping[str, Floats]) -> None:
    for name, array in values.items():
        state[name].write(np.asarray(array, dtype=np.float32))
