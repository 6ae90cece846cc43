"""Small networks of each family with random weights, and what each says of itself on the hub."""

# Of another environment:
# mypy: ignore-errors

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
import transformers
from timm.models.resnet import BasicBlock, ResNet
from torch import Tensor, nn

import processor_inputs as inputs

VISION = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2}
VISION |= {"num_attention_heads": 2, "image_size": 16, "patch_size": 4}
WORDS = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2}
WORDS |= {"num_attention_heads": 2}
CLIP = {**inputs.PROCESSORS["clip"], "processor_class": "CLIPProcessor"}
LONGEST = 24
"""Tokens of a text."""


@dataclass(frozen=True)
class Family:
    """A kind of model.

    Attributes
    ----------
    make : callable
        From the size of the vocabulary (0 for images and sounds) to the model.
    output : str
        Field of the model's output that the file gives.
    pooling : str
        How the vectors of tokens become one; "none" if the output is one a row.
    tokenizer : str
        Name of the tokenizer.
    padding : str
        How texts are padded.
    takes : tuple of str
        Inputs of the model.
    files : dict
        Name → content of the files that describe it on the hub.
    graph : str
        Name of the file.
    """

    make: Callable[[int], nn.Module]
    output: str
    pooling: str
    tokenizer: str = ""
    padding: str = "longest"
    takes: tuple[str, ...] = ("pixel_values",)
    files: dict[str, Any] = field(default_factory=dict)
    graph: str = "model"


def sentences(pooling: str, *, normalize: bool, prompts: dict[str, str]) -> dict[str, Any]:
    """Return the files of sentence-transformers."""
    kinds = ["", "1_Pooling", "2_Normalize"][: 3 if normalize else 2]
    names = ("Transformer", "Pooling", "Normalize")
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{name}"}
        for i, (path, name) in enumerate(zip(kinds, names, strict=False))
    ]
    modes = {"cls": "cls_token", "mean": "mean_tokens", "last_token": "lasttoken"}
    pools = {f"pooling_mode_{name}": mode == pooling for mode, name in modes.items()}
    return {
        "modules.json": modules,
        "1_Pooling/config.json": {"word_embedding_dimension": 16, **pools},
        "sentence_bert_config.json": {"max_seq_length": LONGEST, "do_lower_case": False},
        "config_sentence_transformers.json": {"prompts": prompts},
    }


def text(kind: str, *, types: bool = False, **options: object) -> Callable[[int], nn.Module]:
    """Return what makes a text model."""

    def make(size: int) -> nn.Module:
        config = getattr(transformers, f"{kind}Config")
        facts = {**WORDS, "vocab_size": size, "max_position_embeddings": LONGEST, **options}
        if types:
            facts["type_vocab_size"] = 2
        return getattr(transformers, f"{kind}Model")(config(**facts))

    return make


def made(name: str, config: str, **options: object) -> Callable[[int], nn.Module]:
    """Return what makes any other model; a text model is told the size of its vocabulary."""

    def make(size: int) -> nn.Module:
        facts = {**options, **({"vocab_size": size} if size else {})}
        return getattr(transformers, name)(getattr(transformers, config)(**facts))

    return make


class Timm(nn.Module):
    """A network of timm, with the name of its input and output as transformers has them."""

    def __init__(self) -> None:
        super().__init__()
        self.network = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=0, channels=(4, 8, 8, 16))

    def forward(self, pixel_values: Tensor) -> dict[str, Tensor]:
        return {"embedding": self.network(pixel_values)}


BERT = ("input_ids", "attention_mask", "token_type_ids")
MASKED = ("input_ids", "attention_mask")
AFTER_PADDING = {"max_position_embeddings": LONGEST + 2, "pad_token_id": 1}
SIGLIP_TOKENS = {"pad_token_id": 0, "eos_token_id": 0, "bos_token_id": 1}
CONVOLUTIONS = {"conv_dim": (8,) * 4, "conv_kernel": (10, 4, 4, 2), "conv_stride": (8, 4, 4, 2)}

FAMILIES = {
    "bert": Family(
        text("Bert", types=True),
        "last_hidden_state",
        "mean",
        "bert",
        takes=BERT,
        files=sentences("mean", normalize=True, prompts={}),
    ),
    "roberta": Family(
        text("Roberta", **AFTER_PADDING),
        "last_hidden_state",
        "cls",
        "roberta",
        takes=MASKED,
        files=sentences("cls", normalize=False, prompts={}),
    ),
    "mpnet": Family(
        text("MPNet", **AFTER_PADDING),
        "last_hidden_state",
        "mean",
        "mpnet",
        takes=MASKED,
        files=sentences("mean", normalize=True, prompts={}),
    ),
    "xlm-roberta": Family(
        text("XLMRoberta", **AFTER_PADDING),
        "last_hidden_state",
        "last_token",
        "xlm-roberta",
        takes=MASKED,
        files=sentences("last_token", normalize=True, prompts={"query": "query: "}),
    ),
    "modernbert": Family(
        text(
            "ModernBert",
            local_attention=8,
            global_attn_every_n_layers=2,
            pad_token_id=3,
            attn_implementation="eager",
            reference_compile=False,
        ),
        "last_hidden_state",
        "cls",
        "modernbert",
        takes=MASKED,
        files=sentences("cls", normalize=True, prompts={}),
    ),
    "vit": Family(
        made("ViTModel", "ViTConfig", **VISION),
        "last_hidden_state",
        "cls",
        files={"preprocessor_config.json": inputs.PROCESSORS["vit"]},
    ),
    "dinov2": Family(
        made("Dinov2Model", "Dinov2Config", **VISION, mlp_ratio=2),
        "last_hidden_state",
        "cls",
        files={"preprocessor_config.json": inputs.PROCESSORS["dinov2"]},
    ),
    "clip-text": Family(
        made(
            "CLIPTextModelWithProjection",
            "CLIPTextConfig",
            **WORDS,
            projection_dim=16,
            max_position_embeddings=LONGEST,
            bos_token_id=0,
            eos_token_id=1,
            pad_token_id=1,
        ),
        "text_embeds",
        "none",
        "clip",
        takes=MASKED,
        files={"preprocessor_config.json": CLIP},
        graph="text_model",
    ),
    "clip-vision": Family(
        made("CLIPVisionModelWithProjection", "CLIPVisionConfig", **VISION, projection_dim=16),
        "image_embeds",
        "none",
        files={"preprocessor_config.json": CLIP},
        graph="vision_model",
    ),
    "siglip-text": Family(
        made(
            "SiglipTextModel",
            "SiglipTextConfig",
            **WORDS,
            max_position_embeddings=LONGEST,
            **SIGLIP_TOKENS,
        ),
        "pooler_output",
        "none",
        "siglip",
        padding="max_length",
        takes=("input_ids",),
        files={"preprocessor_config.json": inputs.PROCESSORS["siglip"]},
        graph="text_model",
    ),
    "siglip-vision": Family(
        made("SiglipVisionModel", "SiglipVisionConfig", **VISION),
        "pooler_output",
        "none",
        files={"preprocessor_config.json": inputs.PROCESSORS["siglip"]},
        graph="vision_model",
    ),
    "convnext": Family(
        made(
            "ConvNextModel",
            "ConvNextConfig",
            hidden_sizes=[8, 16],
            depths=[1, 1],
            num_stages=2,
            patch_size=2,
        ),
        "pooler_output",
        "none",
        files={"preprocessor_config.json": inputs.PROCESSORS["convnext"]},
    ),
    "resnet": Family(
        lambda _: Timm(), "embedding", "none", files={"config.json": inputs.TIMM["timm"]}
    ),
    "wav2vec2": Family(
        made(
            "Wav2Vec2Model",
            "Wav2Vec2Config",
            **WORDS,
            **CONVOLUTIONS,
            num_feat_extract_layers=4,
            num_conv_pos_embeddings=8,
            num_conv_pos_embedding_groups=4,
            mask_time_prob=0.0,
        ),
        "last_hidden_state",
        "mean",
        takes=("input_values",),
        files={"preprocessor_config.json": inputs.EXTRACTORS["wav2vec2"]},
    ),
}
"""Name → family; of a pair, each tower."""


def network(name: str, size: int) -> nn.Module:
    """Return a model whose weights are larger than a new one's: its items must differ."""
    torch.manual_seed(7)
    model = FAMILIES[name].make(size).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.normal_(std=1 / math.sqrt(weight[0].numel()))
            else:
                weight.add_(torch.randn_like(weight) * 0.1)
        for key, buffer in model.named_buffers():
            if key.endswith("running_mean"):
                buffer.normal_(std=0.1)
            elif key.endswith("running_var"):
                buffer.uniform_(0.5, 1.5)
    return model


class One(nn.Module):
    """A model with inputs by position and one output, as exporters want it."""

    def __init__(self, model: nn.Module, takes: tuple[str, ...], output: str) -> None:
        super().__init__()
        self.model, self.takes, self.output = model, takes, output

    def forward(self, *arrays: Tensor) -> Tensor:
        made = self.model(**dict(zip(self.takes, arrays, strict=True)))
        return made[self.output]
