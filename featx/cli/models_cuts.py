"""``featx models cuts``."""

from typing import TYPE_CHECKING

import click

from featx.cli import options as o

if TYPE_CHECKING:
    from featx.finetune.graph.cuts import Cut


@click.command()
@click.argument("name", metavar="BACKBONE")
@o.json_option
def cuts(name: str, as_json: bool) -> None:
    """Show where a backbone can be cut, to train what lies behind.

    Behind each cut: whole blocks, layers with a matrix of weights, and numbers that can be
    trained; and what the value at the cut takes in the cache as float16: of one token of a text,
    of one image, of one window of a sound.
    """
    from featx.finetune.graph.cuts import find_cuts
    from featx.finetune.graph.plain import plain_graph
    from featx.finetune.graph.shapes import probe_feeds
    from featx.zoo import catalog

    manifest = catalog.find(name)
    catalog.require_files(manifest)
    graph = plain_graph(manifest)
    found = find_cuts(graph, probe_feeds(graph, manifest), name=manifest.name)
    sample = sample_of(found, manifest.modality)
    if as_json:
        o.print_json({"name": manifest.name, "sample": sample, "cuts": [_facts(c) for c in found]})
        return
    article = "an" if sample[0] in "aeiou" else "a"
    header = ["cut", "blocks", "layers", "parameters", f"bytes {article} {sample}"]
    o.print_table(header, [_row(cut) for cut in found])


def sample_of(found: "list[Cut]", modality: str) -> str:
    """Return what one row of the value at a cut is."""
    if any(cut.grows for cut in found):
        return "token"
    return "window" if modality == "audio" else modality


def _facts(cut: "Cut") -> dict[str, object]:
    return {
        "tensor": cut.tensor,
        "shape": list(cut.shape),
        "blocks": cut.blocks,
        "layers_after": cut.layers_after,
        "parameters_after": cut.parameters_after,
        "bytes_a_sample": cut.bytes_a_sample,
        "extra_inputs": list(cut.extra_inputs),
    }


def _row(cut: "Cut") -> list[str]:
    blocks = "-" if cut.blocks is None else str(cut.blocks)
    numbers = (cut.layers_after, cut.parameters_after, cut.bytes_a_sample)
    return [cut.tensor, blocks, *(f"{number:,}" for number in numbers)]
