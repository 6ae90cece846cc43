"""The summary of a page: what a reader should know, in sentences, before any number."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from html import escape

import numpy as np

from featx.evaluate.curation.inspection import Inspection
from featx.evaluate.measures import HEADLINES
from featx.heads.predict import Head
from featx.report.accuracy import headline
from featx.report.confusion import most_confused
from featx.report.curation import small_classes
from featx.report.elements import notes, short
from featx.report.findings import Findings
from featx.report.judgement import Judgement
from featx.report.learning import doubled
from featx.report.words import counted, items_of, number, percent
from featx.transfer.adapt.made import MARK as ADAPTED

MOST_NOTES = 24
"""Of what was found, that are shown."""

_NOTE_LENGTH = 400
_NO_BETTER = " It does no better than that."

Point = tuple[str, str]
"""A sentence, and the section that says more; empty where none does."""


def summary_section(found: Findings, remarks: list[str], headings: Mapping[str, str]) -> str:
    """Return the summary, with links to the sections that say more.

    Parameters
    ----------
    found : Findings
    remarks : list of str
        Sentences on what the page shows.
    headings : mapping
        Name of a section → its heading, as HTML.
    """
    points = "".join(
        f"<li>{escape(said)}{_link(name, headings)}</li>\n" for said, name in _points(found)
    )
    listed = f'<ul class="points">\n{points}</ul>\n' if points else ""
    also = notes([*map(_cut, found.notes[:MOST_NOTES]), *remarks, *_more(found.notes)])
    minor = f"<details open>\n<summary>To bear in mind</summary>\n{also}</details>\n" * bool(also)
    return (
        '<section id="summary" aria-labelledby="summary-heading">\n'
        '<h2 id="summary-heading" class="unseen">Summary</h2>\n'
        f'<p class="lead">{escape(lead(found))}</p>\n{listed}{minor}'
        f"{_contents(headings)}</section>\n"
    )


def _cut(sentence: str) -> str:
    return short(sentence, _NOTE_LENGTH)


def _more(sentences: Sequence[str]) -> list[str]:
    n = len(sentences) - MOST_NOTES
    return [f"{n:,} more notes; --json lists them"] if n > 0 else []


def lead(found: Findings) -> str:
    """Return the first sentences: what it is, and how good the head is."""
    said = [_what(found)]
    if found.judgement is not None and found.head is not None:
        said.append(_how_good(found.judgement, found.head.kind))
    elif found.subject == "set":
        said.append(f"{_why_no_head(found)}, so that there is no head to judge.")
    else:
        said.append(
            "How good it is was not measured when it was made: give the report a set of labelled "
            "items that it has not seen, too."
        )
    return " ".join(said)


def _why_no_head(found: Findings) -> str:
    held = found.embedding_set
    counts = Counter(label for label in held.y.tolist() if label is not None) if held else Counter()
    if not counts:
        return "Nothing can be learned without labels"
    if len(counts) > 1 and np.median(list(counts.values())) < 2:
        return "Half of the classes or more have one item, and are gone when that is held out"
    return "Its labels cannot be learned from"


def _what(found: Findings) -> str:
    held, head = found.embedding_set, found.head
    if held is None:
        assert head is not None
        model = short(str(head.header.get("model", "an unknown model")))
        return f"A head of {_of_names(head)}, {_made(head)} that were embedded with {model}."
    items = items_of(held.modality, len(held))
    names = {label for label in held.y.tolist() if label is not None}
    of = f" in {_classes(len(names))}" if names else ", none of them labelled"
    return f"{items}{of}, embedded with {short(held.model)}."


def _made(head: Head) -> str:
    if "zero_shot" in head.header:
        return "made of their names, for items"
    used = counted(int(head.header.get("labels", {}).get("used", 0)), "item")
    if ADAPTED not in head.header:
        return f"trained on {used}"
    return f"trained on {used} and adapted to {head.header[ADAPTED]['target']['rows']:,}"


def _of_names(head: Head) -> str:
    nouns = {"classify": ("class", "classes"), "multilabel": ("tag", ""), "regress": ("value", "")}
    return counted(len(head.classes), *nouns[head.task])


def _classes(n: int) -> str:
    return counted(n, "class", "classes")


def _how_good(judgement: Judgement, kind: str) -> str:
    measures, measure = judgement.measures, HEADLINES[judgement.task]
    baselines = dict(measures["baselines"])
    share = percent if judgement.task == "classify" else number
    beside = f"guessing reaches {share(next(iter(baselines.values())))}"
    if "raw" in baselines:
        beside += f", a head on raw features {share(baselines['raw'])}"
    is_better = measures[measure] > max(baselines.values())
    items = f"{counted(measures['n'], 'item')} {judgement.how}"
    good = headline(measures, judgement.task, items)
    return f"The head ({kind}) {good}; {beside}." + _NO_BETTER * (not is_better)


def _points(found: Findings) -> Iterator[Point]:
    if found.judgement is not None and len(found.judgement.rows):
        yield from _of_judgement(found.judgement)
    if found.inspection is not None:
        is_classes = found.head is None or found.head.task == "classify"
        yield from _of_inspection(found.inspection, is_classes=is_classes)
    elif found.head is not None and found.head.header.get("suspects", {}).get("n"):
        n = found.head.header["suspects"]["n"]
        yield f"{counted(n, 'label')} of the training look{'s' * (n == 1)} wrong.", "suspects"
    if found.curve is not None:
        yield doubled(found.curve), "learning"


def _of_judgement(judgement: Judgement) -> Iterator[Point]:
    pairs = most_confused(judgement, 2)
    if pairs:
        said = " and ".join(
            f"{short(label, 40)} for {short(guess, 40)} ({times:,})"
            for label, guess, times in pairs
        )
        yield f"It most often takes {said}.", "confusion"
    measures = judgement.measures
    if "calibration_error" in measures:
        error, band = measures["calibration_error"], measures["calibration_band"]
        gap = percent(float(error))
        if error <= band[1]:
            yield (
                f"Nothing speaks against its probabilities: they are off by {gap} on average, and "
                f"{counted(measures['n'], 'item')} cannot tell less than "
                f"{percent(float(band[1]))} from chance.",
                "reliability",
            )
        else:
            is_sure = float(judgement.sure.mean()) > float(judgement.hits.mean())
            yield (
                f"Its probabilities are off by {gap} on average, more than chance explains: "
                f"mostly too {'high' if is_sure else 'low'}.",
                "reliability",
            )


def _of_inspection(found: Inspection, *, is_classes: bool) -> Iterator[Point]:
    if is_classes:
        yield from _of_labels(found)
    if found.duplicates:
        n = sum(len(group.rows) for group in found.duplicates)
        differ = sum(group.labels_differ for group in found.duplicates)
        odd = f"; in {counted(differ, 'group')} the labels differ" if differ else ""
        yield f"{n:,} items are there more than once, or nearly{odd}.", "duplicates"
    if n := len(found.leaks):
        yield f"{counted(n, 'item')} of val or test {_are(n)} in an earlier split too.", "leaks"
    if n := len(found.outliers):
        yield f"{counted(n, 'item')} {_are(n)} unlike all others.", "outliers"
    if n := int(np.size(found.unfit)):
        yield f"{counted(n, 'vector')} {_are(n)} not finite and left out.", ""


def _of_labels(found: Inspection) -> Iterator[Point]:
    if n := len(found.suspects):
        yield f"{counted(n, 'label')} look{'s' * (n == 1)} wrong.", "suspects"
    if n := len(found.clusters):
        yield f"{counted(n, 'whole group')} of items may be mislabelled.", "classes"
    if said := small_classes(found):
        yield said, "provenance"


def _are(n: int) -> str:
    return "is" if n == 1 else "are"


def _link(name: str, headings: Mapping[str, str]) -> str:
    """Return a link to a section, if there is one, that says where it leads out of context too."""
    if name not in headings:
        return ""
    return f' <a href="#{name}">See<span class="unseen"> {headings[name]}</span></a>'


def _contents(headings: Mapping[str, str]) -> str:
    links = "".join(f'<li><a href="#{name}">{said}</a></li>\n' for name, said in headings.items())
    return f'<nav aria-label="Sections">\n<ul>\n{links}</ul>\n</nav>\n'
