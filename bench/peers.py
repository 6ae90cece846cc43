"""Make the peers' environments and models under ``.bench/``: ``python -m bench.peers [NAME ...]``.

Each peer gets a virtual environment of its own, with pinned versions; nothing is installed into
ours.  The models are made from our zoo, so nothing is fetched but packages.  Making what is made
already does nothing.  torch is its CPU build, which pip must find: where the package index has
only builds with CUDA, set PIP_FIND_LINKS or PIP_EXTRA_INDEX_URL to a place that has CPU wheels.
"""

import argparse
import json
import subprocess
import sys
import venv

from bench.support import models
from bench.support.places import ENVIRONMENTS, HOME, python

TORCH = "torch==2.13.0+cpu"
PEERS = {
    "fastembed": ["fastembed==0.9.1", "onnxruntime==1.32.0"],
    "sentence-transformers": [
        TORCH,
        "sentence-transformers==6.2.0",
        "transformers==5.23.0",
    ],
    "sentence-transformers-onnx": [
        TORCH,
        "sentence-transformers[onnx]==5.7.0",
        "transformers==4.57.6",
        "optimum-onnx==0.1.0",
        "onnxruntime==1.32.0",
    ],
    "neighbours": ["hnswlib==0.8.0", "usearch==2.26.6", "threadpoolctl==3.8.0"],
    "faissknn": [TORCH, "faissknn==0.4.2", "faiss-cpu==1.15.1"],
    "cleanlab": ["cleanlab==2.9.0", "scikit-learn==1.9.1"],
    "skada": ["skada==0.6.0", "scikit-learn==1.9.1"],
    "plots": ["matplotlib==3.11.2"],
    "infinity": [
        TORCH,
        "infinity-emb[server,optimum,torch,logging]==0.0.78",
        "optimum==1.24.0",
        "transformers==4.48.3",
        "datasets==3.6.0",
        "pyarrow==19.0.1",
    ],
    "readers": ["datasets==5.2.0", "embedding-reader==1.8.1", "pylance==14.0.2", "numpy==2.4.6"],
    "autofaiss": ["autofaiss==2.18.0", "faiss-cpu==1.15.1", "numpy==1.26.4", "pyarrow==19.0.1"],
    "fastapi": [
        TORCH,
        "sentence-transformers==6.2.0",
        "transformers==5.23.0",
        "fastapi==0.165.0",
        "uvicorn[standard]==0.54.0",
    ],
    "setfit": [
        TORCH,
        "setfit==1.2.0",
        "sentence-transformers==6.2.0",
        "transformers==5.23.0",
        "datasets==5.2.0",
    ],
}
"""Environment → what is installed in it.

optimum-onnx 0.1.0, the newest, needs transformers below 4.58, and sentence-transformers 6 needs 5
or later; so the ONNX backend is measured with the newest release that can be installed with it.
infinity-emb wants NumPy 1, which the newest pyarrow and datasets do not, and an optimum and a
transformers that still have BetterTransformer, though it is not used.  autofaiss wants NumPy 1 too.
"""


def make(name: str) -> None:
    """Make one environment, unless it holds these packages already."""
    folder = ENVIRONMENTS / name
    if is_made(name):
        print(f"{name}: is there")
        return
    print(f"{name}: installing {' '.join(PEERS[name])}", flush=True)
    venv.create(folder, clear=True, with_pip=True)
    command = [python(name), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if subprocess.run([*command, *PEERS[name]], check=False).returncode:
        sys.exit(f"{name}: pip failed; see {__name__}'s docstring for torch without CUDA")
    (folder / "packages.json").write_text(json.dumps(PEERS[name]))


def missing() -> list[str]:
    """Return the peers whose environment is not there or is of other versions."""
    return [name for name in PEERS if not is_made(name)]


def is_made(name: str) -> bool:
    stamp = ENVIRONMENTS / name / "packages.json"
    return stamp.is_file() and json.loads(stamp.read_text()) == PEERS[name]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", choices=[*PEERS, []], help="all, if none is named")
    names = parser.parse_args().names or list(PEERS)

    HOME.mkdir(exist_ok=True)
    for name in names:
        make(name)
    models.build()
    print("models: made")


if __name__ == "__main__":
    main()
