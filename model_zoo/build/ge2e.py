"""Resemblyzer's GE2E speaker encoder: windows of mel frames to embeddings, not normalised."""

import tempfile
from pathlib import Path

import onnx
import torch

from model_zoo.build.graph import tidy, write

MELS = 40
WIDTH = 256
LAYERS = 3
WINDOW_FRAMES = 160


class SpeakerEncoder(torch.nn.Module):
    """Three LSTM layers; the last hidden state, a linear layer and a ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = torch.nn.LSTM(MELS, WIDTH, LAYERS, batch_first=True)
        self.linear = torch.nn.Linear(WIDTH, WIDTH)

    def forward(self, mel: torch.Tensor) -> torch.Tensor:
        _, (hidden, _) = self.lstm(mel)
        return torch.relu(self.linear(hidden[-1]))


def load(weights: Path) -> SpeakerEncoder:
    """Return the original float32 model; the training loss's two parameters are left out."""
    state = torch.load(weights, map_location="cpu", weights_only=True)["model_state"]
    encoder = SpeakerEncoder()
    encoder.load_state_dict(
        {key: value for key, value in state.items() if not key.startswith("similarity")}
    )
    return encoder.eval()


def build(weights: Path, out: Path) -> None:
    """Write the graph."""
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "model.onnx"
        torch.onnx.export(
            load(weights),
            (torch.zeros(2, WINDOW_FRAMES, MELS),),
            path,
            input_names=["mel"],
            output_names=["embedding"],
            dynamic_axes={"mel": {0: "batch"}, "embedding": {0: "batch"}},
            opset_version=17,
            dynamo=False,
        )
        write(tidy(onnx.load(path)), out / "model.onnx")
