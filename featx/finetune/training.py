"""One training run: epochs, until more do not help or something goes wrong."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from featx.finetune.comparison import Scored
from featx.finetune.folds import Part
from featx.finetune.guard import Guard
from featx.finetune.learner import Learner, Trained
from featx.finetune.schedule import learning_rate
from featx.finetune.solved import Solved

PATIENCE = 2
"""Epochs without a better one, after which training stops where the user did not count them."""

ENDED, NO_BETTER, INTERRUPTED = "all epochs done", "more epochs did not help", "interrupted"


@dataclass(frozen=True, slots=True)
class Epoch:
    """A pass over the training rows.

    Attributes
    ----------
    number : int
        From 1.
    loss : float
        Mean of its steps.
    scored : Scored
        What is said of the validation rows after it; of no rows in a final run.
    """

    number: int
    loss: float
    scored: Scored

    @property
    def rank(self) -> tuple[float, float]:
        """What epochs are compared by: the larger, the better."""
        return -self.scored.log_loss, self.scored.accuracy

    def facts(self) -> dict[str, Any]:
        """Return JSON values."""
        own = {"epoch": self.number, "loss": self.loss}
        return own | {"accuracy": self.scored.accuracy, "log_loss": self.scored.log_loss}


@dataclass(frozen=True, slots=True, kw_only=True)
class Length:
    """How long to train.

    Attributes
    ----------
    planned : int
        Epochs that the learning rate is planned for.
    epochs : int
        Most epochs.
    patience : int or None
        Stop after so many epochs without a better one; None never does.
    """

    planned: int
    epochs: int
    patience: int | None = None


@dataclass(slots=True, kw_only=True)
class Training:
    """What became of a training run.

    Attributes
    ----------
    frozen : Scored
        Rows held out by the head that was solved, on frozen embeddings.
    epochs : list of Epoch
        Those that came to their end.
    best : Epoch or None
        The first of the best; of a final run, which is not validated, the last.
    kept : Trained or None
        Parameters after the best epoch.
    stopped : str
        Why there are no more.
    interrupt : KeyboardInterrupt or None
        To be raised once the best is kept.
    """

    frozen: Scored
    epochs: list[Epoch] = field(default_factory=list)
    best: Epoch | None = None
    kept: Trained | None = None
    stopped: str = ENDED
    interrupt: KeyboardInterrupt | None = None

    def add(self, epoch: Epoch, parameters: Callable[[], Trained | None]) -> None:
        """Take an epoch that came to its end, and its parameters if it is the best."""
        is_final = not len(epoch.scored.y)
        if self.best is None or is_final or epoch.rank > self.best.rank:
            self.kept, self.best = parameters(), epoch
        self.epochs.append(epoch)


OnEpoch = Callable[[Epoch], None]


def train(
    learner: Learner, part: Part, head: Solved, frozen: Scored, length: Length, on_epoch: OnEpoch
) -> Training:
    """Train tail and head from the solved head on, and keep the best epoch.

    Whatever ends it, what was best until then is kept: a loss that is no number or grows, and an
    interrupt, which is handed back.

    Parameters
    ----------
    learner : Learner
    part : Part
        Without validation rows this is a final run.
    head : Solved
    frozen : Scored
        Rows held out by `head`, or by heads like it.
    length : Length
    on_epoch : callable
    """
    made = Training(frozen=frozen)
    try:
        learner.begin(head)
        made.stopped = _run(learner, part, length, made, on_epoch)
    except KeyboardInterrupt as interrupt:
        made.stopped, made.interrupt = INTERRUPTED, interrupt
    return made


def _run(learner: Learner, part: Part, length: Length, made: Training, on_epoch: OnEpoch) -> str:
    """Train, and return why it ended."""
    rng = np.random.default_rng(learner.recipe.seed)
    guard = Guard(made.frozen.raw_log_loss)
    step = 0
    for number in range(1, length.epochs + 1):
        batches = learner.batches(part.train, rng)
        losses = []
        for batch in batches:
            rate = learning_rate(step, length.planned * len(batches), learner.recipe.rate)
            losses.append(learner.step(batch, rng, rate))
            step += 1
            if problem := guard.problem(losses[-1]):
                return problem
        scored = learner.scored(part.val)
        if not np.isfinite(scored.logits).all():
            return "the logits are not numbers"
        made.add(Epoch(number, float(np.mean(losses)), scored), learner.now)
        on_epoch(made.epochs[-1])
        if length.patience and made.best and number - made.best.number >= length.patience:
            return NO_BETTER
    return ENDED
