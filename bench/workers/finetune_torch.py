"""Train the last block of a BERT on a problem's batches with torch, and print what it took.

``finetune_torch.py FOLDER OUT MODEL``: the model is a folder of transformers with the same
weights.  OUT gets the parameters under the names that they have there.
"""

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import clock
import finetune_batches
import numpy as np
import torch
from torch.nn import functional
from transformers import BertModel

if TYPE_CHECKING:
    from collections.abc import Callable

SWEPT_STEPS = 12


class Tail(torch.nn.Module):
    """The last block, the mean of its tokens at unit length, and the head."""

    def __init__(self, model: BertModel, head: dict[str, np.ndarray]) -> None:
        super().__init__()
        self.block = model.encoder.layer[-1]
        self.eager = model.config._attn_implementation == "eager"
        self.head = torch.nn.Linear(*reversed(head["W"].shape))
        with torch.no_grad():
            self.head.weight.copy_(torch.from_numpy(head["W"]))
            self.head.bias.copy_(torch.from_numpy(head["b"]))

    def forward(self, values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        kept = mask[:, None, None, :].bool()
        added = torch.zeros(kept.shape).masked_fill(~kept, torch.finfo(torch.float32).min)
        tokens = self.block(values, added if self.eager else kept)
        tokens = tokens[0] if isinstance(tokens, tuple) else tokens
        weights = mask[:, :, None].to(values.dtype)
        pooled = (tokens * weights).sum(1) / weights.sum(1).clamp(min=1)
        return self.head(functional.normalize(pooled, dim=-1, eps=1e-30))


class Training:
    """A tail with its optimiser, as far as it has come."""

    def __init__(
        self, folder: Path, model: Path, facts: dict[str, Any], setting: dict[str, Any]
    ) -> None:
        bert = BertModel.from_pretrained(model, attn_implementation=setting["attention"])
        with np.load(folder / "head.npz") as head:
            self.tail = Tail(bert.eval(), dict(head))
        self.run: Callable[..., torch.Tensor] = (
            torch.compile(self.tail, dynamic=False) if setting.get("compile") else self.tail
        )
        self.tail.block.attention.self.key.bias.requires_grad_(False)  # its gradient is 0
        named = {name: p for name, p in self.tail.named_parameters() if p.requires_grad}
        self.pulled = [p for name, p in named.items() if name.startswith("block")]
        self.starts = [p.detach().clone() for p in self.pulled]
        self.pull, decay = facts["optimiser"]["l2_sp"], facts["optimiser"]["weight_decay"]
        groups = [
            {"params": [p for p in named.values() if p.ndim > 1], "weight_decay": decay},
            {"params": [p for p in named.values() if p.ndim < 2], "weight_decay": 0.0},
        ]
        self.optimiser = torch.optim.AdamW(groups, lr=facts["rate"], **setting["adamw"])

    def step(self, batch: dict[str, torch.Tensor], *, updates: bool = True) -> float:
        logits = self.run(batch["values"], batch["mask"])
        losses = functional.cross_entropy(logits, batch["targets"], reduction="none")
        loss = (losses * batch["weights"]).sum() / batch["weights"].sum()
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        if updates:
            with torch.no_grad():
                away = torch._foreach_sub(self.pulled, self.starts)
                torch._foreach_add_([p.grad for p in self.pulled], away, alpha=self.pull)
            self.optimiser.step()
        return loss.item()

    def parameters(self) -> dict[str, np.ndarray]:
        return {name: p.detach().numpy() for name, p in self.tail.named_parameters()}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--setting", type=json.loads)
    parser.add_argument("--sweep", type=json.loads)
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    facts, arrays = finetune_batches.read(args.folder)
    batches = [{n: torch.from_numpy(array) for n, array in batch.items()} for batch in arrays]

    def train(setting: dict[str, Any], steps: int) -> tuple[Training, dict[str, Any]]:
        made = Training(args.folder, args.model, facts, setting)
        for batch in batches:
            made.step(batch, updates=False)
        started_s, cpu_before_s = time.perf_counter(), clock.cpu_s()
        losses = [made.step(batches[step % len(batches)]) for step in range(steps)]
        ended_s = time.perf_counter()
        found = {"encode_s": ended_s - started_s, "encode_cpu_s": clock.cpu_s() - cpu_before_s}
        return made, {**found, "losses": losses}

    if args.sweep:
        clock.say(
            clock.sweep(args.sweep, lambda s: SWEPT_STEPS / train(s, SWEPT_STEPS)[1]["encode_s"])
        )
        return
    made, found = train(args.setting, args.steps)
    np.savez(args.out, **made.parameters())
    clock.say(found)


if __name__ == "__main__":
    main()
