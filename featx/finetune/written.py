"""What is written when a search is over: a tuned backbone with its head, or a head alone."""

from featx.finetune.files import Files
from featx.finetune.learner import Trained
from featx.finetune.made import Made
from featx.finetune.proof import prove
from featx.finetune.staging import staged
from featx.finetune.training import Epoch
from featx.finetune.tuned import Source, write_backbone
from featx.finetune.tunedhead import frozen_head, tuned_head
from featx.heads.headfile import save_head
from featx.heads.predict import Head
from featx.zoo.manifest import Tuned


def write(files: Files, made: Made) -> tuple[Head, float | None]:
    """Write what is kept.

    Parameters
    ----------
    files : Files
    made : Made

    Returns
    -------
    head : Head
    apart : float or None
        By how much a probability differs between the written files and what was trained; None
        where the frozen backbone stays.

    Raises
    ------
    InputError
        If they differ by more than rounding; then nothing is written.
    StoreError
        If the files cannot be written.
    """
    found = made.found
    if found.choice.best is None or found.trained is None or not found.choice.is_tuned:
        return _write_frozen(files, made), None
    return _write_tuned(files, made, found.choice.best, found.trained)


def _write_frozen(files: Files, made: Made) -> Head:
    """Write the head on the frozen backbone; the backbone of an earlier run goes away."""
    head = frozen_head(made)
    with staged(files) as place:
        save_head(place.head, head)
    return head


def _write_tuned(files: Files, made: Made, best: Epoch, trained: Trained) -> tuple[Head, float]:
    prepared, plan, material = made.prepared, made.plan, made.material
    parent = prepared.backbone
    source = Source(
        parent=parent,
        graph=prepared.graph,
        parameters=trained.parameters,
        tuned=Tuned(
            parent=parent.manifest.name,
            parent_fingerprint=parent.fingerprint,
            cut=prepared.cut.tensor,
            tune=made.learner.recipe.tune,
            epochs=best.number,
            items=len(plan.trained),
            classes=material.names,
        ),
        blocks=prepared.cut.blocks,
    )
    made.learner.take(trained)
    with staged(files) as place:
        tuned = write_backbone(place, source)
        head = tuned_head(made, best, trained, tuned)
        apart = prove(tuned, head, prepared, trained, made.examples)
        save_head(place.head, head)
    return head, apart
