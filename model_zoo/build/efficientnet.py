"""EfficientNet-Lite0: an image to its global average pool and its ImageNet-1k logits."""

import tempfile
from pathlib import Path

import onnx
import torch
from efficientnet_lite_pytorch import EfficientNet

from model_zoo.build.graph import tidy, write

SIZE = 224


class PoolAndLogits(torch.nn.Module):
    """The last feature map's mean over height and width, and the classifier's logits of it."""

    def __init__(self, net: EfficientNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        embedding = self.net.extract_features(image).mean((2, 3))
        return embedding, self.net._fc(embedding)


def load(weights: Path) -> PoolAndLogits:
    """Return the original float32 model."""
    net = EfficientNet.from_name("efficientnet-lite0")
    net.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return PoolAndLogits(net.eval()).eval()


def build(weights: Path, out: Path) -> None:
    """Write the graph."""
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "model.onnx"
        torch.onnx.export(
            load(weights),
            (torch.zeros(2, 3, SIZE, SIZE),),
            path,
            input_names=["image"],
            output_names=["embedding", "logits"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            opset_version=18,
            dynamo=True,
            external_data=False,
        )
        write(tidy(onnx.load(path)), out / "model.onnx")
