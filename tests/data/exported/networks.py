"""Small networks of the usual kinds, with random weights: hidden size 32, two or three blocks."""

from collections.abc import Callable

import torch  # type: ignore[import-not-found,unused-ignore]
from torch import Tensor, nn
from transformers import (  # type: ignore[import-not-found,unused-ignore]
    BertConfig,
    BertModel,
    ConvNextConfig,
    ConvNextModel,
    EfficientNetConfig,
    EfficientNetModel,
    ResNetConfig,
    ResNetModel,
    ViTConfig,
    ViTModel,
)


class Output(nn.Module):  # type: ignore[misc,unused-ignore]
    """One output of a network of the transformers package."""

    def __init__(self, network: nn.Module, name: str) -> None:
        super().__init__()
        self.network, self.name = network, name

    def forward(self, *inputs: Tensor) -> Tensor:
        return getattr(self.network(*inputs), self.name).flatten(2 if self.name[0] == "l" else 1)


class Block(nn.Module):  # type: ignore[misc,unused-ignore]
    """An inverted residual of MobileNetV3: widen, filter each channel, excite, narrow."""

    def __init__(self, width: int, wide: int, *, kernel: int, made: int, stride: int) -> None:
        super().__init__()
        self.widen = nn.Sequential(nn.Conv2d(width, wide, 1, bias=False), nn.BatchNorm2d(wide))
        self.each = nn.Sequential(
            nn.Conv2d(wide, wide, kernel, stride, kernel // 2, groups=wide, bias=False),
            nn.BatchNorm2d(wide),
        )
        self.excite = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(wide, wide // 4, 1),
            nn.ReLU(),
            nn.Conv2d(wide // 4, wide, 1),
            nn.Hardsigmoid(),
        )
        self.narrow = nn.Sequential(nn.Conv2d(wide, made, 1, bias=False), nn.BatchNorm2d(made))
        self.act = nn.Hardswish()
        self.adds = stride == 1 and width == made

    def forward(self, x: Tensor) -> Tensor:
        h = self.act(self.each(self.act(self.widen(x))))
        h = self.narrow(h * self.excite(h))
        return x + h if self.adds else h


def bert() -> nn.Module:
    config = BertConfig(
        vocab_size=64,
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=32,
    )
    made = BertModel(config, add_pooling_layer=False)
    # Else torch gives the row of padding no gradient, which no graph knows of.
    made.embeddings.word_embeddings.padding_idx = None
    return Output(made, "last_hidden_state")


def vit() -> nn.Module:
    config = ViTConfig(
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=64,
        image_size=32,
        patch_size=8,
    )
    return Output(ViTModel(config, add_pooling_layer=False), "last_hidden_state")


def resnet() -> nn.Module:
    config = ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16, 24], depths=[1, 1, 2], layer_type="basic"
    )
    return Output(ResNetModel(config), "pooler_output")


def bottleneck() -> nn.Module:
    config = ResNetConfig(
        embedding_size=8, hidden_sizes=[16, 32], depths=[1, 2], layer_type="bottleneck"
    )
    return Output(ResNetModel(config), "pooler_output")


def mobilenet() -> nn.Module:
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.Hardswish()),
        Block(8, 24, kernel=3, made=16, stride=2),
        Block(16, 48, kernel=5, made=16, stride=1),
        Block(16, 48, kernel=3, made=16, stride=1),
        nn.Sequential(nn.Conv2d(16, 48, 1, bias=False), nn.BatchNorm2d(48), nn.Hardswish()),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(48, 32),
        nn.Hardswish(),
    )


def efficientnet() -> nn.Module:
    config = EfficientNetConfig(
        width_coefficient=0.25,
        depth_coefficient=1.0,
        depth_divisor=4,
        hidden_dim=320,
        image_size=32,
        kernel_sizes=[3, 5],
        in_channels=[32, 32],
        out_channels=[32, 48],
        depthwise_padding=[],
        strides=[1, 2],
        num_block_repeats=[1, 2],
        expand_ratios=[1, 4],
    )
    made = EfficientNetModel(config)
    # As many places as there are: a window of `hidden_dim`, as it stands, is mostly beside them.
    made.pooler = nn.AvgPool2d(8, ceil_mode=True)
    return Output(made, "pooler_output")


def convnext() -> nn.Module:
    config = ConvNextConfig(
        patch_size=4, num_stages=2, hidden_sizes=[16, 32], depths=[1, 2], image_size=32
    )
    return Output(ConvNextModel(config), "pooler_output")


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "bert": bert,
    "bottleneck": bottleneck,
    "convnext": convnext,
    "efficientnet": efficientnet,
    "mobilenet": mobilenet,
    "resnet": resnet,
    "vit": vit,
}


def network(name: str) -> nn.Module:
    """Return a network that nothing in it is special: no weight is 0 or 1, no gradient vanishes."""
    generator = torch.Generator().manual_seed(11)
    made = NETWORKS[name]().eval()
    for key, value in [*made.named_parameters(), *made.named_buffers()]:
        if value.is_floating_point():
            value.data.copy_(_weights(key, value, generator))
    return made


def _weights(key: str, value: Tensor, generator: torch.Generator) -> Tensor:
    """Return normal numbers scaled by what they are summed over, or gains and variances near 1."""
    normal = torch.randn(value.shape, generator=generator)
    if "embeddings" in key and value.ndim in (2, 3):
        return normal
    if value.ndim > 1:
        return normal * (1.5 / value[0].numel()) ** 0.5
    if key.endswith(("weight", "running_var", "layer_scale_parameter")):
        return 1 + 0.3 * normal.clamp(-2, 2)
    return 0.2 * normal
