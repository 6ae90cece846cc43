"""Train SetFit on each draw of a few labelled texts, and print how it does on others.

``fewshot_setfit.py PROBLEM MODEL``: as its documentation has it, with its defaults: all pairs of
texts, one epoch, batches of 16, and a logistic regression on the tuned embeddings.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import clock
import numpy as np
import torch
from datasets import Dataset
from setfit import SetFitModel, Trainer, TrainingArguments


def trained(model: Path, draw: dict[str, Any], folder: str) -> tuple[SetFitModel, dict[str, float]]:
    """Return a model that is tuned to a draw, and the seconds of that, its loading left out."""
    tuned = SetFitModel.from_pretrained(str(model), device="cpu")
    arguments = TrainingArguments(
        output_dir=folder,
        seed=draw["seed"],
        report_to="none",
        save_strategy="no",
        logging_strategy="no",
        show_progress_bar=False,
    )
    rows = Dataset.from_dict({"text": draw["texts"], "label": draw["labels"]})
    trainer = Trainer(model=tuned, args=arguments, train_dataset=rows)
    started_s, cpu_before_s = time.perf_counter(), clock.cpu_s()
    trainer.train()
    seconds = {"train_s": time.perf_counter() - started_s}
    return tuned, {**seconds, "train_cpu_s": clock.cpu_s() - cpu_before_s}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("problem", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    problem = json.loads(args.problem.read_text(encoding="utf-8"))
    test, found = problem["test"], []
    with tempfile.TemporaryDirectory() as folder:
        trained(args.model, problem["draws"][0], folder)  # both sides warm up
        for draw in problem["draws"]:
            model, seconds = trained(args.model, draw, folder)
            predicted = np.asarray(model.predict(test["texts"], show_progress_bar=False))
            accuracy = float(np.mean(predicted == np.asarray(test["labels"])))
            facts = {"size": draw["size"], "seed": draw["seed"]}
            found.append({**facts, "accuracy": accuracy, **seconds})
            print(found[-1], file=sys.stderr, flush=True)
    clock.say({"runs": found})


if __name__ == "__main__":
    main()
