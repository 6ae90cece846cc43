"""The tail and its head on cached activations: rows in, losses and logits out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from featx.errors import InputError
from featx.finetune.comparison import Scored
from featx.finetune.prepared import Prepared
from featx.finetune.recipe import Recipe
from featx.finetune.solved import Solved
from featx.finetune.steps.activations import Activations
from featx.finetune.steps.batches import Batch, plan_batches
from featx.finetune.steps.loss import HEAD_BIAS, HEAD_WEIGHT
from featx.finetune.steps.targets import mix, one_hot
from featx.finetune.steps.trainer import Feeds, Trainer
from featx.heads.calibration import softmax
from featx.types import Rows, Vectors

SAME = 0.02
"""By how much a probability may differ between whole graph and tail at the start.

Activations kept in float16 move one by some 1e-4; a body and a tail that do not belong together,
by far more.
"""

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """Tail and head after some training.

    Attributes
    ----------
    parameters : mapping of str to ndarray of float32
        Initializer → values, those of the tail that were trained.
    weight : ndarray of float32, shape (C, D)
    bias : ndarray of float32, shape (C,)
    """

    parameters: Mapping[str, Floats]
    weight: Vectors
    bias: Floats

    @property
    def everything(self) -> dict[str, Floats]:
        """Parameters and head as a trainer holds them."""
        return {**self.parameters, HEAD_WEIGHT: self.weight, HEAD_BIAS: self.bias}


@dataclass(frozen=True, slots=True, kw_only=True)
class Learner:
    """What is trained, and the rows that it is trained on.

    Attributes
    ----------
    trainer : Trainer
    views : sequence of Activations
        Of the items as they are, then of each augmented view; row i is item i.
    y : ndarray of int64, shape (N,)
        Class codes.
    classes : int
    recipe : Recipe
    start : mapping of str to ndarray of float32
        All parameters of the trainer before any training.
    """

    trainer: Trainer
    views: Sequence[Activations]
    y: NDArray[np.int64]
    classes: int
    recipe: Recipe
    start: Mapping[str, Floats]

    def begin(self, head: Solved) -> None:
        """Put the tail back to its start, with this head."""
        self.trainer.restore({**self.start, HEAD_WEIGHT: head.weight, HEAD_BIAS: head.bias})

    def now(self) -> Trained:
        """Return a copy of the present parameters."""
        values = self.trainer.parameters()
        weight, bias = values.pop(HEAD_WEIGHT), values.pop(HEAD_BIAS)
        return Trained(parameters=values, weight=weight, bias=bias)

    def take(self, trained: Trained) -> None:
        """Go back to parameters that `now` returned."""
        self.trainer.restore(trained.everything)

    def batches(self, rows: Rows, rng: np.random.Generator) -> list[Batch]:
        """Return the batches of an epoch, shuffled."""
        lengths, size = self.views[0].lengths, self.recipe.batch_size
        return plan_batches(lengths, rows, size=size, rng=rng)

    def step(self, batch: Batch, rng: np.random.Generator, rate: float) -> float:
        """Train on a batch, in a view that is drawn for it, and return the loss before that."""
        recipe, size = self.recipe, self.recipe.batch_size
        view = self.views[int(rng.integers(len(self.views)))]
        feeds = view.feeds(batch.rows, length=batch.length, size=size)
        codes = np.zeros(size, dtype=np.int64)
        codes[: len(batch.rows)] = self.y[batch.rows]
        targets = one_hot(codes, self.classes, smoothing=recipe.label_smoothing)
        weights = (np.arange(size) < len(batch.rows)).astype(np.float32)
        if recipe.mixup:
            feeds, targets, weights = mix(feeds, targets, weights, alpha=recipe.mixup, rng=rng)
        return self.trainer.step(feeds, targets, weights, rate)

    def logits(self, rows: Rows) -> Floats:
        """Return the present logits of rows, (n, C), in their order."""
        return self._forward(rows, self.trainer.logits)

    def embeddings(self, rows: Rows) -> Vectors:
        """Return the present embeddings of rows, (n, D), in their order."""
        return self._forward(rows, self.trainer.embeddings)

    def scored(self, rows: Rows) -> Scored:
        """Return what is said of rows now."""
        return Scored(self.logits(rows), self.y[rows])

    def require_same(self, head: Solved, X: Vectors, rows: Rows) -> None:
        """Raise unless the tail gives what the whole graph gives, before any training.

        Parameters
        ----------
        head : Solved
            The present one.
        X : ndarray of float32, shape (n, D)
            Embeddings of the rows by the whole graph.
        rows : ndarray of int64

        Raises
        ------
        InputError
        """
        apart = np.abs(softmax(self.logits(rows)) - softmax(head.logits(X))).max()
        if not apart <= SAME:
            message = (
                f"the graph cut in two gives probabilities that differ by {apart:.2g} from those"
                f" of the whole; {SAME} is allowed; choose another --cut"
            )
            raise InputError(message)

    def _forward(self, rows: Rows, run: Callable[[Feeds], Floats]) -> Floats:
        plain, size = self.views[0], self.recipe.batch_size
        made: list[Floats] = []
        order: list[Rows] = []
        for batch in plan_batches(plain.lengths, rows, size=size):
            made.append(run(plain.feeds(batch.rows, length=batch.length)))
            order.append(batch.rows)
        if not made:
            return np.empty((0, self.classes), dtype=np.float32)
        together = np.concatenate(made)
        found = np.empty_like(together)
        # Both orders hold the same rows, each once.
        found[np.argsort(rows)] = together[np.argsort(np.concatenate(order))]
        return found


def make_learner(
    prepared: Prepared,
    views: Sequence[Activations],
    y: NDArray[np.int64],
    trained: Rows,
    recipe: Recipe,
) -> Learner:
    """Return a learner whose head is still to be solved.

    Parameters whose gradient is only rounding noise are not trained: Adam would make full steps
    of it.

    Parameters
    ----------
    prepared : Prepared
    views : sequence of Activations
    y : ndarray of int64, shape (N,)
    trained : ndarray of int64
        Rows that may train.
    recipe : Recipe
    """
    classes = int(y.max()) + 1
    size, rng = recipe.batch_size, np.random.default_rng(recipe.seed)
    first = prepared.trainer(prepared.names, classes)
    batch = plan_batches(views[0].lengths, trained, size=size, rng=rng)[0]
    feeds = views[0].feeds(batch.rows, length=batch.length)
    targets = one_hot(y[batch.rows], classes)
    idle = set(first.idle(feeds, targets, np.ones(len(targets), dtype=np.float32)))
    names = [name for name in prepared.names if name not in idle]
    trainer = prepared.trainer(names, classes) if idle else first
    return Learner(
        trainer=trainer,
        views=views,
        y=y,
        classes=classes,
        recipe=recipe,
        start=trainer.parameters(),
    )
