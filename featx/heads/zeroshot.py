"""Heads without a label: the vectors of class names, made by a text backbone of the same space.

Radford et al. 2021, "Learning transferable visual models from natural language supervision"
(arXiv:2103.00020), 3.1: the probability of a class is the softmax of the cosines times a scale,
and of several templates the vectors are averaged.

Pairs such as SigLIP (Zhai et al. 2023, arXiv:2303.15343) were trained with a sigmoid of the scaled
cosine plus a bias, one for each name.  The bias is the same for all names, so that it cancels in a
softmax: for such pairs too a probability here is that of a class among those that are named.
"""

from collections.abc import Callable, Sequence
from importlib.metadata import version

import numpy as np

from featx.backbone.backbone import Backbone
from featx.backbone.pooling import normalize
from featx.backbone.settings import Settings
from featx.data.cachefolder import cache_folder
from featx.data.opening import open_backbone
from featx.data.queries import for_queries, open_partner
from featx.errors import InputError
from featx.heads.predict import Head
from featx.types import Vectors

BLANK = "{}"
"""Where the name of a class goes in a template."""

USUAL_SCALE = 100.0
"""What CLIP multiplies cosines with; its training ends at this bound."""


def zero_shot(
    model: str | Backbone,
    classes: Sequence[str],
    *,
    templates: Sequence[str] = (BLANK,),
    scale: float | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Head:
    """Return a head of class names, for items that nobody has labelled.

    Its probabilities are relative: they add up to 1 over the classes that are named, even where
    none of them fits.  It is of the kind ``centroid``: each class is the mean vector of its name
    in all templates, and the centre is zero.  It tells no novel items, and its sets hold the label
    alone.

    Parameters
    ----------
    model : str or Backbone
        What makes vectors of the items, or its name: of texts itself, else half of a pair whose
        other half takes texts.
    classes : sequence of str
        Two or more names.
    templates : sequence of str
        Texts with ``{}`` where the name goes: ``"a photo of a {}"``.
    scale : float, optional
        What cosines are multiplied with before the softmax; by default what the pair states, and
        100 where nothing is stated, which the head's warnings then tell.  It changes how sure the
        head is, not which class wins.
    say : callable, optional
        As for `open_backbone`.

    Raises
    ------
    InputError
        If there are fewer than two classes or no template, a name or a template is there twice, a
        template has no ``{}``, one text is given for a list of them, or the backbone has no
        partner that takes texts.
    FeatxError
        As `open_partner` does.
    """
    names, templates = _different("class", classes), _different("template", templates)
    if len(names) < 2:
        message = f"zero-shot: {len(names)} class; expected two or more names"
        raise InputError(message)
    if not templates:
        message = f"zero-shot: no template; expected one or more, such as {BLANK!r}"
        raise InputError(message)
    for template in templates:
        if BLANK not in template:
            message = f"zero-shot: template {template!r} has no {BLANK}, where the name goes"
            raise InputError(message)
    if scale is not None and not 0 < scale < float("inf"):
        message = f"zero-shot: scale {scale}; expected a number above 0"
        raise InputError(message)
    backbone = _opened(model, say)
    tower = backbone.manifest.tower
    stated = None if tower is None else tower.logit_scale
    chosen = scale or stated or USUAL_SCALE
    warnings = [
        f"probabilities are made with the scale {chosen:g}, CLIP's, since nothing states this "
        "model's; it decides how sure the head is, not which class wins"
    ]
    of_names = _of_names(backbone, say)
    centroids = _vectors_of(of_names, names, templates)
    found = {
        "templates": list(templates),
        "scale": chosen,
        "model": of_names.manifest.name,
        "fingerprint": of_names.fingerprint,
    }
    facts = backbone.facts
    kept = ("dim", "fingerprint", "space", "prompt", "modality")
    return Head(
        kind="centroid",
        classes=names,
        arrays={"centre": np.zeros(backbone.dim, np.float32), "centroids": centroids},
        temperature=1 / chosen,
        header={
            **{key: facts[key] for key in kept},
            "model": facts["name"],
            "zero_shot": found,
            "chosen": {"head": "centroid", "templates": len(templates), "scale": chosen},
            "warnings": [] if scale or stated else warnings,
            "versions": {"numpy": version("numpy")},
        },
    )


def _opened(model: str | Backbone, say: Callable[[str], None]) -> Backbone:
    if isinstance(model, Backbone):
        return model
    return open_backbone(model, Settings(cache=cache_folder()), say=say)


def _of_names(backbone: Backbone, say: Callable[[str], None]) -> Backbone:
    """Return what makes vectors of names; it asks for items, as a query does."""
    if backbone.manifest.modality == "text":
        return for_queries(backbone)
    other = open_partner(backbone, say=say)
    if other.manifest.modality != "text":
        message = f"{backbone.manifest.name}: its other half takes {other.manifest.modality}"
        raise InputError(f"{message}; names of classes need one that takes text")
    return other


def _vectors_of(backbone: Backbone, names: Sequence[str], templates: Sequence[str]) -> Vectors:
    """Return the unit mean of each name's vectors, float32 (C, D)."""
    texts = [template.replace(BLANK, name) for name in names for template in templates]
    X = normalize(backbone.encode(texts)).reshape(len(names), len(templates), -1)
    return normalize(X.mean(axis=1, dtype=np.float32))


def _different(what: str, texts: Sequence[str]) -> tuple[str, ...]:
    if isinstance(texts, str):
        message = f"zero-shot: {texts!r} is one {what}; expected a list of them"
        raise InputError(message)
    found = tuple(texts)
    if blank := [text for text in found if not text.strip()]:
        message = f"zero-shot: {what} {blank[0]!r} says nothing"
        raise InputError(message)
    if twice := [text for at, text in enumerate(found) if text in found[:at]]:
        message = f"zero-shot: {what} {twice[0]!r} is there twice"
        raise InputError(message)
    return found
