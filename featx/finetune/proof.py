"""That the files which were written give what was trained."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from featx.backbone.backbone import Backbone
from featx.errors import InputError
from featx.finetune.learner import Trained
from featx.finetune.prepared import Prepared
from featx.finetune.steps.body import Body
from featx.finetune.steps.caching import Caching
from featx.finetune.steps.trainer import Trainer
from featx.heads.calibration import softmax
from featx.heads.predict import Head
from featx.types import Content

ITEMS = 32
"""Items that are run through both."""

SAME = 1e-5
"""Probabilities in float32 differ by less: rounding adds up to about 1e-6."""


def prove(
    backbone: Backbone,
    head: Head,
    prepared: Prepared,
    trained: Trained,
    contents: Sequence[Content],
) -> float:
    """Run items through the written files and through body, tail and head, on the CPU.

    Parameters
    ----------
    backbone : Backbone
        Read from the files.
    head : Head
    prepared : Prepared
        Whose tail was trained; activations are computed anew, in float32.
    trained : Trained
    contents : sequence of Content
        At most `ITEMS`.

    Returns
    -------
    float
        The largest difference of a probability.

    Raises
    ------
    InputError
        If it is more than `SAME`.
    """
    on_cpu = replace(backbone.settings, device="cpu", precision=None)
    written = Backbone(backbone.manifest, on_cpu, prompt=prepared.backbone.facts["prompt"])
    found = head.probabilities(written.encode(contents))
    wanted = softmax(_trained_logits(prepared, trained, contents) / head.temperature)
    apart = float(np.abs(found - wanted).max())
    if not apart <= SAME:
        message = (
            f"{backbone.manifest.name}: the written files give probabilities that differ by"
            f" {apart:.2g} from those of what was trained; {SAME:g} is allowed; nothing is kept"
        )
        raise InputError(message)
    return apart


def _trained_logits(
    prepared: Prepared, trained: Trained, contents: Sequence[Content]
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    parent = prepared.backbone
    on_cpu = replace(parent.settings, device="cpu")
    parent = Backbone(parent.manifest, on_cpu, prompt=parent.facts["prompt"])
    body = Body(parent, prepared.parts)
    trainer = Trainer(
        prepared.parts.tail,
        list(trained.parameters),
        head=(trained.weight, trained.bias),
        settings=on_cpu,
    )
    trainer.restore(trained.everything)
    with TemporaryDirectory(prefix="featx-proof-") as folder:
        caching = Caching(body, contents, cache=Path(folder), dtype="float32")
        for _ in caching.steps():
            pass
        feeds = caching.activations().feeds(np.arange(len(contents)))
        return trainer.logits(feeds).astype(np.float64)
