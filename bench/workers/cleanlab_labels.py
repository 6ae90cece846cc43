"""cleanlab's scores of labels by each recipe, from FOLDER's X.npy and y.npy to its scores.npz.

The recipes are those of its tutorials: probabilities of a logistic regression out of five folds,
as it is or with its penalty tuned by folds inside each, or of the ten nearest neighbours; scored
by each of its three measures of the quality of a label.
"""

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
from cleanlab.rank import get_label_quality_scores
from clock import say
from sklearn.base import ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier

FOLDS, ITERATIONS = 5, 1000
METHODS = ("self_confidence", "normalized_margin", "confidence_weighted_entropy")
CS = np.logspace(-2, 3, 6)


def classifiers() -> dict[str, ClassifierMixin]:
    return {
        "logistic regression": LogisticRegression(max_iter=ITERATIONS),
        "tuned logistic regression": LogisticRegressionCV(
            Cs=CS,
            cv=3,
            max_iter=ITERATIONS,
            scoring="neg_log_loss",
            use_legacy_attributes=False,
            l1_ratios=(0,),
        ),
        "10 neighbours": KNeighborsClassifier(10, metric="cosine"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    warnings.simplefilter("ignore", ConvergenceWarning)

    X, y = np.load(folder / "X.npy"), np.load(folder / "y.npy")
    scores, seconds = {}, {}
    for name, classifier in classifiers().items():
        started_s = time.perf_counter()
        folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
        likely = cross_val_predict(classifier, X, y, cv=folds, method="predict_proba")
        for method in METHODS:
            # Neighbours give probabilities of 0, whose margins and entropies are still finite.
            scores[f"{name}, {method}"] = get_label_quality_scores(y, likely, method=method)
        seconds[name] = time.perf_counter() - started_s
    np.savez(folder / "scores.npz", **scores)
    say({"seconds": seconds})


if __name__ == "__main__":
    main()
