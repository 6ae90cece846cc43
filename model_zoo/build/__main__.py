"""Build the zoo: ``python -m model_zoo.build --work .bench/zoo`` in an environment of its own.

``--out`` writes elsewhere and says where the result differs from the manifests; without it the
zoo is replaced and its manifests are stamped with the new hashes.
"""

import argparse
from pathlib import Path

from model_zoo.build import carried, efficientnet, ge2e, goldens, layers, minilm
from model_zoo.build.fetch import fetch
from model_zoo.build.stamp import differences, sha256, stamp

ZOO = Path(__file__).parents[1]


def main() -> int:
    """Return 1 if a build beside the zoo gave other bytes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path(".bench/zoo"))
    parser.add_argument("--out", type=Path, default=ZOO)
    options = parser.parse_args()
    sources = fetch(options.work)
    minilm.build(sources["minilm-l6"], options.out / "minilm-l6")
    layers.build_minilm(options.out / "minilm-l6")
    efficientnet.build(
        next(sources["efficientnet-lite0"].glob("*.pth")), options.out / "efficientnet-lite0"
    )
    layers.build_efficientnet(options.out / "efficientnet-lite0")
    ge2e.build(sources["ge2e"] / "pretrained.pt", options.out / "ge2e")
    goldens.build(sources, options.out / "golden")
    carried.build(sources, options.out / "golden")
    return report(options.out)


def report(out: Path) -> int:
    """Stamp the zoo's manifests, or compare another folder with the zoo."""
    wrong = []
    for manifest in sorted(ZOO.glob("*.toml")):
        if out.resolve() == ZOO:
            stamp(manifest)
            continue
        copy = out / manifest.name
        copy.write_bytes(manifest.read_bytes())
        wrong += differences(copy)
        golden = f"golden/{manifest.stem}.npz"
        if sha256(out / golden) != sha256(ZOO / golden):
            wrong.append(f"{golden} differs")
    print("\n".join(wrong) or "every file is as the manifests say")
    return int(bool(wrong))


if __name__ == "__main__":
    raise SystemExit(main())
