"""Adapters of skada, and what its scorers choose among them; runs in skada's environment.

Reads ``X``, ``y`` (source), ``Z`` (target) and ``Z_test``, ``z_test``, which tell how good each
was; prints one JSON object: ``accuracy`` (adapter → share), ``chosen`` (scorer → adapter) and
``fit_s``.  An adapter that cannot be fitted is not among them.
"""

import json
import sys
import time
import warnings

import numpy as np
from skada import (
    CORALAdapter,
    LinearOTMappingAdapter,
    OTMappingAdapter,
    SubspaceAlignmentAdapter,
    make_da_pipeline,
)
from skada.metrics import (
    CircularValidation,
    DeepEmbeddedValidation,
    ImportanceWeightedScorer,
    PredictionEntropyScorer,
    SoftNeighborhoodDensity,
)
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import ShuffleSplit, cross_val_score

COMPONENTS, SPLITS = 40, 3
ADAPTERS = {
    "none": None,
    "CORAL": CORALAdapter,
    "SubspaceAlignment": lambda: SubspaceAlignmentAdapter(n_components=COMPONENTS),
    "LinearTransport": lambda: LinearOTMappingAdapter(reg=1e-2),
    "Transport": OTMappingAdapter,
}
SCORERS = {
    "PredictionEntropy": PredictionEntropyScorer,
    "SoftNeighborhoodDensity": SoftNeighborhoodDensity,
    "ImportanceWeighted": ImportanceWeightedScorer,
    "DeepEmbeddedValidation": DeepEmbeddedValidation,
    "CircularValidation": CircularValidation,
}
MASKED, SOURCE, TARGET = -1, 1, -2


def pipeline(name: str):  # noqa: ANN201 - of skada
    steps = [] if ADAPTERS[name] is None else [ADAPTERS[name]()]
    head = LogisticRegression(C=10, max_iter=1000)
    head = head.set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
    return make_da_pipeline(*steps, head)


def main() -> None:
    given = np.load(sys.argv[1])
    X = np.concatenate([given["X"], given["Z"]])
    y = np.concatenate([given["y"], np.full(len(given["Z"]), MASKED)])
    domain = np.repeat([SOURCE, TARGET], [len(given["X"]), len(given["Z"])])
    of_test = np.full(len(given["Z_test"]), TARGET)
    accuracy, scores, seconds = {}, {name: {} for name in SCORERS}, {}
    for name in ADAPTERS:
        started_s = time.perf_counter()
        try:
            fitted = pipeline(name).fit(X, y, sample_domain=domain)
        except ValueError as error:  # transport of some pairs gives NaN
            print(f"{name}: {str(error).splitlines()[0]}", file=sys.stderr)
            continue
        seconds[name] = time.perf_counter() - started_s
        predicted = fitted.predict(given["Z_test"], sample_domain=of_test)
        accuracy[name] = float((predicted == given["z_test"]).mean())
        for scorer, make in SCORERS.items():
            parts = ShuffleSplit(SPLITS, test_size=0.3, random_state=0)
            found = cross_val_score(
                pipeline(name),
                X,
                y,
                cv=parts,
                params={"sample_domain": domain},
                scoring=make(),
            )
            scores[scorer][name] = float(np.mean(found))
    chosen = {
        scorer: max(found, key=lambda name: np.nan_to_num(found[name], nan=-np.inf))
        for scorer, found in scores.items()
    }
    print(json.dumps({"accuracy": accuracy, "chosen": chosen, "fit_s": seconds}))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
