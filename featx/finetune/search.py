"""Head first, then tail and head, on each part of the plan: what is best, and its parameters."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from featx.finetune.choice import Choice, choose, pooled
from featx.finetune.comparison import Scored
from featx.finetune.folds import Part, Plan
from featx.finetune.learner import Learner, Trained
from featx.finetune.material import Material
from featx.finetune.solved import Solved, solve
from featx.finetune.training import INTERRUPTED, PATIENCE, Epoch, Length, Training, train

COMPARED_ROWS = 64
"""Validation rows on which the tail is compared with the whole graph before it is trained."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a search came to.

    Attributes
    ----------
    choice : Choice
    head : Solved
        The frozen candidate; after folds one like theirs, of all rows.
    epochs : list of Epoch
        All that were run, each scored on the rows that judge.
    trained : Trained or None
        Parameters after the best epoch, even if the frozen head is kept.
    interrupt : KeyboardInterrupt or None
        To be raised once the best is written.
    """

    choice: Choice
    head: Solved
    epochs: list[Epoch]
    trained: Trained | None = None
    interrupt: KeyboardInterrupt | None = None


Say = Callable[[str], None]


def search(learner: Learner, material: Material, plan: Plan, say: Say) -> Found:
    """Train on each part, choose between frozen and tuned, and train on all rows after folds.

    Parameters
    ----------
    learner : Learner
    material : Material
    plan : Plan
    say : callable
        Told of each epoch.

    Raises
    ------
    InputError
        If the tail does not give what the whole graph gives.
    """
    recipe = learner.recipe
    patience = PATIENCE if recipe.epochs is None and not plan.is_folded else None
    length = Length(planned=recipe.planned_epochs, epochs=recipe.planned_epochs, patience=patience)
    runs: list[Training] = []
    interrupt: KeyboardInterrupt | None = None
    try:
        for number, part in enumerate(plan.parts):
            head = solve(material, part.train, seed=recipe.seed)
            frozen = Scored(head.logits(material.X[part.val]), material.y[part.val])
            if not number:
                learner.begin(head)
                compared = part.val[:COMPARED_ROWS]
                learner.require_same(head, material.X[compared], compared)
            where = f"fold {number + 1} of {len(plan.parts)}, " if plan.is_folded else ""
            runs.append(train(learner, part, head, frozen, length, _told(say, where, frozen)))
            if interrupt := runs[-1].interrupt:
                break
    except KeyboardInterrupt as between_runs:
        if not runs:
            raise  # There is nothing to keep.
        interrupt = between_runs
    if plan.is_folded and interrupt is not None:
        none = Choice(frozen=pooled(runs).frozen, best=None, stopped=INTERRUPTED)
        head = solve(material, plan.rows, seed=recipe.seed)
        return Found(choice=none, head=head, epochs=[], interrupt=interrupt)
    if not plan.is_folded:
        (run,) = runs
        return Found(
            choice=choose(run),
            head=head,
            epochs=run.epochs,
            trained=run.kept,
            interrupt=run.interrupt,
        )
    return _after_folds(learner, material, plan, pooled(runs), say)


def _after_folds(
    learner: Learner, material: Material, plan: Plan, together: Training, say: Say
) -> Found:
    """Train on all rows for as many epochs as the folds say, if they say that it helps."""
    recipe, choice = learner.recipe, choose(together)
    head = solve(material, plan.rows, seed=recipe.seed)
    if choice.best is None or not choice.is_tuned:
        return Found(choice=choice, head=head, epochs=together.epochs)
    length = Length(planned=recipe.planned_epochs, epochs=choice.best.number)
    everything = Part(plan.rows, np.empty(0, dtype=np.int64))
    final = train(
        learner, everything, head, together.frozen, length, _told(say, "all rows, ", None)
    )
    if len(final.epochs) < choice.best.number:
        # What the folds say of the epochs that it has come to.
        last = together.epochs[len(final.epochs) - 1] if final.epochs else None
        choice = replace(choice, best=last, stopped=final.stopped)
    return Found(
        choice=choice,
        head=head,
        epochs=together.epochs,
        trained=final.kept,
        interrupt=final.interrupt,
    )


def _told(say: Say, where: str, frozen: Scored | None) -> Callable[[Epoch], None]:
    def tell(epoch: Epoch) -> None:
        line = f"{where}epoch {epoch.number}: loss {epoch.loss:.3f}"
        if frozen is not None:
            accuracy, beside = epoch.scored.accuracy, frozen.accuracy
            line += f", validation accuracy {accuracy:.3f} (frozen {beside:.3f})"
        say(line)

    return tell
