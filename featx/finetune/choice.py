"""Frozen or tuned, and after which epoch: what did best on rows held out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from featx.finetune.comparison import Gain, Scored
from featx.finetune.training import Epoch, Training


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What is kept.

    Attributes
    ----------
    frozen : Scored
        The head on frozen embeddings.
    best : Epoch or None
        The best epoch of training, even if it is not kept; None where none came to its end.
    stopped : str
        Why training ended.
    """

    frozen: Scored
    best: Epoch | None
    stopped: str

    @property
    def gain(self) -> Gain | None:
        """What the best epoch is worth beside the frozen head."""
        return None if self.best is None else Gain.between(self.frozen, self.best.scored)

    @property
    def is_tuned(self) -> bool:
        """Whether the tuned backbone is kept: it has to be better, not only as good."""
        return self.gain is not None and self.gain.difference > 0

    def sentence(self) -> str:
        """Return what came of it, in words."""
        if self.gain is None:
            return f"ended before an epoch was judged: {self.stopped}; the frozen head is kept"
        said = self.gain.sentence()
        return said if self.is_tuned else f"{said}; the frozen head is kept"


def choose(training: Training) -> Choice:
    """Return the choice between a head and the epochs of one run."""
    return Choice(frozen=training.frozen, best=training.best, stopped=training.stopped)


def pooled(folds: Sequence[Training]) -> Training:
    """Return the runs of all folds as one: each epoch is scored on the held-out rows of all.

    Epochs count as far as every fold came.

    Parameters
    ----------
    folds : sequence of Training
    """
    shortest = min(folds, key=lambda fold: len(fold.epochs))
    made = Training(frozen=_joined([fold.frozen for fold in folds]), stopped=shortest.stopped)
    for number in range(len(shortest.epochs)):
        of_folds = [fold.epochs[number] for fold in folds]
        loss = float(np.mean([epoch.loss for epoch in of_folds]))
        scored = _joined([epoch.scored for epoch in of_folds])
        made.add(Epoch(number + 1, loss, scored), lambda: None)
    return made


def _joined(parts: Sequence[Scored]) -> Scored:
    return Scored(
        np.concatenate([part.logits for part in parts]), np.concatenate([part.y for part in parts])
    )
