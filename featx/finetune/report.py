"""What a fine-tuning run says of itself, as JSON values."""

from typing import Any

from featx.finetune.comparison import Gain, Scored
from featx.finetune.folds import Plan
from featx.finetune.material import Material
from featx.finetune.prepared import Prepared
from featx.finetune.search import Found


def report(
    prepared: Prepared,
    material: Material,
    plan: Plan,
    found: Found,
    test: tuple[Scored, Scored | None] | None,
) -> dict[str, Any]:
    """Return what was done, and how good frozen and tuned are.

    Parameters
    ----------
    prepared : Prepared
    material : Material
    plan : Plan
    found : Found
    test : (Scored, Scored or None) or None
        Rows of split ``test``, by the frozen head and after the best epoch.

    Returns
    -------
    dict
        ``tuned`` (whether that is kept), ``reason`` in words, ``parent``, ``cut``, ``items``,
        ``validation``, ``frozen`` and ``finetuned`` (accuracy, interval, log loss; the latter
        after the best epoch, or None), ``gain`` with its interval, ``test`` with the same three
        or None, ``epochs`` (that are kept), ``stopped``, ``history`` and ``warnings``.
    """
    choice = found.choice
    return {
        "tuned": choice.is_tuned,
        "reason": choice.sentence(),
        "parent": prepared.backbone.manifest.name,
        "cut": prepared.facts(),
        "items": {
            "rows": material.rows,
            "unlabelled": material.unlabelled,
            "train": len(plan.trained),
            "val": len(plan.judged),
            "test": len(plan.test),
            "classes": len(material.names),
        },
        "validation": f"{len(plan.parts)} folds" if plan.is_folded else "held out",
        **_both(choice.frozen, None if choice.best is None else choice.best.scored),
        "test": None if test is None else _both(*test),
        "epochs": choice.best.number if choice.best and choice.is_tuned else 0,
        "stopped": choice.stopped,
        "history": [epoch.facts() for epoch in found.epochs],
        "warnings": [*material.notes, *plan.notes],
    }


def _both(frozen: Scored, tuned: Scored | None) -> dict[str, Any]:
    return {
        "frozen": frozen.facts(),
        "finetuned": tuned and tuned.facts(),
        "gain": tuned and Gain.between(frozen, tuned).facts(),
    }
