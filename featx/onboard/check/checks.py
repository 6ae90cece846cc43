"""Running a backbone before it is added: on real items, alone and together, short and long."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from featx.backbone.backbone import Backbone
from featx.backbone.graphs.neighbours import depends_on_neighbours
from featx.backbone.runtime import Session
from featx.backbone.settings import Settings
from featx.errors import FeatxError, InputError
from featx.onboard.adding import Checked
from featx.onboard.check.against import PACKAGE, at_commit, vectors_of
from featx.onboard.check.axes import require_axes
from featx.onboard.check.golden import write_golden
from featx.onboard.check.loading import OWN, additional_operators, load
from featx.onboard.check.measuring import measure
from featx.onboard.check.output import failure, require_output
from featx.onboard.check.reference import Reference, compare, is_near, read_reference
from featx.onboard.check.trials import describe, load_items, of_equal_length, trial_items
from featx.onboard.fetch.origin import Origin
from featx.onboard.read.signature import read_signature
from featx.types import Sample, Vectors
from featx.zoo.catalog import golden_file
from featx.zoo.manifest import Manifest

MOST_DIFFERENCE = {"fp32": 1e-3, "fp16": 3e-2, "int8": 5e-2}
"""Precision → how far a vector may be from that of the same item alone, as part of its length.

Other orders of sums make about 1e-6 in float32; roundings that tip over make 1e-2 in float16 and
with integers.  Padding that is not masked makes more than 1e-1.
"""


def check(
    manifest: Manifest, *, reference: Path | None = None, against: Origin | None = None
) -> Checked:
    """Run a backbone on sample items, and refuse one whose vectors cannot be right.

    Each item is encoded alone, then in batches of several sizes and lengths; the vectors must be
    finite, of the stated width, and the same.  They are compared with reference vectors if there
    are any.

    Parameters
    ----------
    manifest : Manifest
        Its files lie in its folder; golden vectors are written there.
    reference : Path, optional
        Items and vectors, as `read_reference` reads them.
    against : Origin, optional
        Where sentence-transformers finds the model, to compare with what it makes of the items;
        of the hub it is the commit that the graph comes from.

    Raises
    ------
    InputError
        Saying what was found, what is needed and what to do; also if there are two references.
    MissingPackageError
        If what it is compared with is not installed.
    """
    if reference and against:
        message = f"{manifest.name}: --reference and --against: one of them can be compared with"
        raise InputError(message)
    checked, kept = _checked(manifest, reference, against)
    path = golden_file(manifest)
    write_golden(path, kept.items, kept.vectors)
    return replace(checked, golden=path)


def check_shared(manifest: Manifest) -> Checked:
    """Run a backbone whose manifest somebody else made, as `check` does.

    Its golden vectors, if there are any, are what it is compared with, and stay as they are.  A
    backbone without a graph has nothing to run.

    Parameters
    ----------
    manifest : Manifest
        Its files lie in its folder, as do its golden vectors.

    Raises
    ------
    InputError
        As `check` does.
    """
    golden = golden_file(manifest)
    if "graph" not in manifest.files:
        return Checked()
    if not golden.is_file():
        return check(manifest)
    checked, _ = _checked(manifest, golden, None)
    return replace(checked, golden=golden)


def _checked(
    manifest: Manifest, reference: Path | None, against: Origin | None
) -> tuple[Checked, Reference]:
    """Return what was found, and the items and vectors that may be compared with later."""
    backbone = Backbone(manifest, Settings(device="cpu"))
    signature = read_signature(manifest.file("graph"))
    require_axes(manifest, signature)
    session = load(backbone)
    given = read_reference(reference, backbone) if reference else None
    items = trial_items(backbone)
    trial = _Trial(backbone, session, load_items(backbone, items))
    alone = trial.alone()
    notes = _notes(manifest, alone)
    if not trial.runs_alone:
        trial.require_independence(alone)
    if against:
        graph = manifest.files["graph"].url
        given = Reference(PACKAGE, items, vectors_of(at_commit(against, graph), items))
    measured = measure(backbone, trial.samples)
    if given is not None:
        least = compare(backbone, given)
        measured["cosine_to_reference_min"] = round(least, 8)
        measured["reference"] = given.name
    kept = given if given is not None and is_near(measured) else Reference("", items, alone)
    return Checked(measured=measured, notes=tuple(notes)), kept


def _notes(manifest: Manifest, alone: Vectors) -> list[str]:
    graph = manifest.file("graph")
    notes = []
    if depends_on_neighbours(graph):
        notes.append(
            f"{graph.name}: quantises with one scale for all rows of a batch; its items are "
            "encoded one by one, which is slower"
        )
    if own := [name for name in additional_operators(graph) if name.startswith(f"{OWN}:")]:
        notes.append(f"{graph.name}: has operators of ONNX Runtime alone: {', '.join(own)}")
    if _differences(alone[1:], alone[:-1]).max() < MOST_DIFFERENCE["fp32"]:
        notes.append(
            f"all {len(alone)} sample items have the same vector; check pooling and output"
        )
    return notes


@dataclass(frozen=True, slots=True)
class _Trial:
    """A backbone and the items that it is tried on."""

    backbone: Backbone
    session: Session
    samples: list[Sample]

    @property
    def runs_alone(self) -> bool:
        """Whether the backbone never joins items to a batch."""
        return self.backbone.limits.parts == 1

    @property
    def name(self) -> str:
        return self.backbone.manifest.name

    def alone(self) -> Vectors:
        """Return the vector of each sample, encoded by itself."""
        manifest, modality = self.backbone.manifest, self.backbone.modality
        rows = []
        for sample in self.samples:
            what = describe(manifest.modality, sample)
            require_output(manifest, self.session, modality.collate([sample]), what)
            rows.append(self._encoded([sample], what)[0])
            if not np.isfinite(rows[-1]).all():
                message = f"{self.name}: gives numbers that are not finite for {what}"
                if manifest.precision == "fp16":
                    message += "; float16 may be too narrow for it; take its float32 graph"
                raise InputError(message)
        return np.stack(rows)

    def require_independence(self, alone: Vectors) -> None:
        """Raise if a vector depends on the other items of its batch."""
        modality = self.backbone.manifest.modality
        is_text = modality == "text"
        equal = of_equal_length(modality, self.samples)
        rows = [self._encoded([sample], "one item")[0] for sample in equal]
        for size in range(2, len(equal) + 1):
            what = f"a batch of {size} items{' of one length' * is_text}"
            self._require_near(equal[:size], np.stack(rows[:size]), what, self._batch_advice)
        what = f"a batch of {len(alone)} items{' of different length' * is_text}"
        self._require_near(self.samples[::-1], alone[::-1], what, self._padding_advice)

    @property
    def _batch_advice(self) -> str:
        return "export it such that rows of a batch do not meet"

    @property
    def _padding_advice(self) -> str:
        if self.backbone.manifest.modality != "text":
            return self._batch_advice
        if "attention_mask" in self.backbone.manifest.inputs:
            return "its attention_mask does not hide padding; export it with one that does"
        return (
            "padding changes them, since it takes no attention_mask; export it with one, or, if "
            "it was trained so, say: --text padding=max_length"
        )

    def _require_near(
        self, samples: Sequence[Sample], wanted: Vectors, what: str, advice: str
    ) -> None:
        found = self._encoded(samples, what)
        differences = _differences(found, wanted)
        worst = float(differences.max())
        most = MOST_DIFFERENCE[self.backbone.manifest.precision]
        if not worst <= most:
            message = (
                f"{self.name}: vectors in {what} differ from those of the same items alone by "
                f"{worst:.2g} of their length; at most {most:g}; {advice}"
            )
            raise InputError(message)

    def _encoded(self, samples: Sequence[Sample], what: str) -> Vectors:
        try:
            return self.backbone.encode_batch(samples)
        except FeatxError:
            raise
        except Exception as cause:  # ONNX Runtime's errors have no base of their own
            raise failure(self.backbone.manifest, what, cause) from cause


def _differences(found: Vectors, wanted: Vectors) -> Vectors:
    """Return how far rows are from each other, as part of the wanted ones' length."""
    lengths = np.linalg.norm(wanted, axis=1)
    parts: Vectors = np.linalg.norm(found - wanted, axis=1) / np.maximum(lengths, 1e-30)
    return parts
