"""Encode a corpus with featx, from the opened model to the finished set.

The benches drive featx's Python API here and nowhere else.
"""

import argparse
import time
from pathlib import Path

import clock

from featx.backbone.backbone import Backbone
from featx.backbone.settings import Settings
from featx.data.sources import open_source
from featx.embedding import embed_all
from featx.zoo import catalog

GRAPHS = Path(__file__).parents[2] / ".bench" / "runs" / "graphs"


def open_backbone(name: str, *, threads: int, decode: str, precision: str | None) -> Backbone:
    """Return a backbone as ``featx embed`` opens it; graphs made for a precision lie in .bench."""
    manifest = catalog.find(name)
    if decode != "exact":
        manifest = manifest.adjusted(decode=decode)
    settings = Settings(device="cpu", threads=threads, precision=precision, cache=GRAPHS)
    return Backbone(manifest, settings.in_bulk())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("corpus", type=Path)
    parser.add_argument("model")
    parser.add_argument("out", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--decode", choices=["exact", "fast"], default="exact")
    parser.add_argument("--precision", choices=["fp32", "int8"])
    args = parser.parse_args()

    backbone = open_backbone(
        args.model, threads=args.threads, decode=args.decode, precision=args.precision
    )
    backbone.session  # noqa: B018  (loads the graph)
    getattr(backbone.modality, "tokenizer", None)  # the peers' are loaded too
    started_s, cpu_before_s = time.perf_counter(), clock.cpu_s()
    source = open_source(str(args.corpus), modality=backbone.manifest.modality)
    made = embed_all(source, backbone, args.out)
    clock.say(
        {
            "items": len(made.X),
            "encode_s": time.perf_counter() - started_s,
            "encode_cpu_s": clock.cpu_s() - cpu_before_s,
        }
    )


if __name__ == "__main__":
    main()
