"""all-MiniLM-L6-v2: token ids and attention mask to token embeddings."""

import shutil
import tempfile
from pathlib import Path

import onnx
import torch
from transformers import BertModel

from model_zoo.build.graph import store_int16, tidy, write

MAX_POSITIONS = 512


class Tokens(torch.nn.Module):
    """The encoder's last hidden state; all tokens are of the first segment."""

    def __init__(self, bert: BertModel) -> None:
        super().__init__()
        self.bert = bert

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        found = self.bert(
            input_ids=input_ids,
            attention_mask=attention_mask,
            token_type_ids=torch.zeros_like(input_ids),
        )
        return found.last_hidden_state


def load(folder: Path) -> BertModel:
    """Return the original float32 model."""
    return BertModel.from_pretrained(
        folder, attn_implementation="eager", add_pooling_layer=False, dtype=torch.float32
    ).eval()


def export_fp32(folder: Path) -> onnx.ModelProto:
    """Return the graph with float32 weights."""
    ids = torch.ones(2, 16, dtype=torch.int64)
    sizes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("sequence", max=MAX_POSITIONS)}
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "model.onnx"
        torch.onnx.export(
            Tokens(load(folder)).eval(),
            (ids, torch.ones_like(ids)),
            path,
            input_names=["input_ids", "attention_mask"],
            output_names=["token_embeddings"],
            dynamic_shapes={"input_ids": sizes, "attention_mask": sizes},
            opset_version=18,
            dynamo=True,
            external_data=False,
        )
        return tidy(onnx.load(path))


def build(folder: Path, out: Path) -> None:
    """Write the graph and the tokenizer, which is the original file."""
    write(store_int16(export_fp32(folder)), out / "model.onnx")
    shutil.copyfile(folder / "tokenizer.json", out / "tokenizer.json")
