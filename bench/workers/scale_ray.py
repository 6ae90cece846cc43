"""Embed a corpus through Ray, and say how long it took from the first unit to the last commit."""

import argparse
import json
import shutil
import time
from collections.abc import Generator, Iterable
from pathlib import Path

from featx.backbone.settings import Settings
from featx.data.sources import open_source
from featx.scale import Recipe, ScaledRun
from featx.scale.assignment import Assignment, Outcome
from featx.scale.rayengine import RayEngine
from featx.scale.unit import Unit
from featx.zoo import catalog


class Timed(RayEngine):
    """Notes when each unit came back."""

    began_s = float("inf")

    def run(self, assignment: Assignment, units: Iterable[Unit]) -> Generator[Outcome]:
        for outcome in super().run(assignment, units):
            began_s = time.perf_counter() - float(outcome.timings["wall_s"])
            self.began_s = min(self.began_s, began_s)
            yield outcome


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("source", type=Path)
    parser.add_argument("model")
    parser.add_argument("out", type=Path)
    parser.add_argument("--address", required=True)
    parser.add_argument("--workers", type=int, required=True)
    args = parser.parse_args()

    shutil.rmtree(args.out, ignore_errors=True)
    recipe = Recipe(model=args.model, settings=Settings(device="cpu", threads=1))
    source = open_source(str(args.source), modality=catalog.find(args.model).modality)
    engine = Timed(recipe, address=args.address, workers=args.workers)
    run = ScaledRun(source, engine, args.out)
    started_s = time.perf_counter()
    *_, progress = run.steps()
    ended_s = time.perf_counter()
    print(
        json.dumps(
            {
                "items": progress.embedded,
                "wall_s": ended_s - engine.began_s,
                "startup_s": engine.began_s - started_s,
                "encode_s": run.timings.encode_s,
            }
        )
    )


if __name__ == "__main__":
    main()
