"""Small tokenizers of each family, and texts as transformers cuts and pads them."""

# Of another environment:
# mypy: ignore-errors

import json
from pathlib import Path

import numpy as np
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

import processor_inputs as inputs

Splitter = pre_tokenizers.PreTokenizer


def references(folder: Path) -> dict[str, np.ndarray]:
    """Write the tokenizers below `folder`, and return every array, named by family and kind."""
    found = {}
    for family in FAMILIES:
        found |= tokenized(family, folder)
    return found


def tokenized(family: str, folder: Path) -> dict[str, np.ndarray]:
    """Write a tokenizer's files, and return what it makes of the texts, cut and padded."""
    tokenizer = FAMILIES[family]()
    tokenizer.save_pretrained(folder / family)
    made = tokenizer(
        list(inputs.TEXTS),
        truncation=True,
        max_length=inputs.MAX_TOKENS,
        padding="max_length" if family == "siglip" else "longest",
        return_tensors="np",
        return_token_type_ids=True,
    )
    return {f"{family}/{name}": array for name, array in made.items()}


def trained(
    model: models.Model, kind: type[trainers.Trainer], splitter: Splitter, **options: object
) -> dict:
    """Return the model of a tokenizer that was trained on the texts, as JSON has it."""
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = splitter
    trainer = kind(vocab_size=400, show_progress=False, **options)
    tokenizer.train_from_iterator([*inputs.TEXTS, __doc__, inputs.__doc__], trainer)
    return json.loads(tokenizer.to_str())["model"]


def pieces(special: list[str]) -> dict[str, int]:
    """Return the vocabulary of WordPiece."""
    pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    model = models.WordPiece(unk_token="[UNK]")
    options = {"special_tokens": special, "continuing_subword_prefix": "##"}
    return trained(model, trainers.WordPieceTrainer, pre_tokenizer, **options)["vocab"]


def pairs(special: list[str], **suffix: str) -> dict:
    """Return vocabulary and merges of byte pairs."""
    pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    options = {"special_tokens": special, "initial_alphabet": alphabet} | suffix
    made = trained(models.BPE(**suffix), trainers.BpeTrainer, pre_tokenizer, **options)
    return {"vocab": made["vocab"], "merges": [tuple(pair) for pair in made["merges"]]}


def unigrams(special: list[str]) -> list[tuple[str, float]]:
    """Return pieces and scores of a unigram model."""
    pre_tokenizer = pre_tokenizers.Metaspace()
    options = {"special_tokens": special, "unk_token": "<unk>"}
    made = trained(models.Unigram(), trainers.UnigramTrainer, pre_tokenizer, **options)
    return [(piece, score) for piece, score in made["vocab"]]


def modernbert() -> transformers.PreTrainedTokenizerFast:
    """Return a tokenizer like ModernBERT's: byte pairs between [CLS] and [SEP]."""
    special = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"]
    tokenizer = Tokenizer(models.BPE(**pairs(special)))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    ids = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=ids
    )
    names = {"unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "pad": "[PAD]", "mask": "[MASK]"}
    tokens = {f"{name}_token": token for name, token in names.items()}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **tokens)


def siglip() -> transformers.PreTrainedTokenizerFast:
    """Return a tokenizer like SigLIP's: lower case, </s> at the end and as padding, no mask."""
    vocabulary = unigrams(["</s>", "<unk>"])
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=1))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 0)]
    )
    tokens = {"unk_token": "<unk>", "eos_token": "</s>", "pad_token": "</s>"}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **tokens)


ROBERTA = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
FAMILIES = {
    "bert": lambda: transformers.BertTokenizer(
        vocab=pieces(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    ),
    "mpnet": lambda: transformers.MPNetTokenizer(vocab=pieces([*ROBERTA, "[UNK]"])),
    "roberta": lambda: transformers.RobertaTokenizer(**pairs(ROBERTA)),
    "xlm-roberta": lambda: transformers.XLMRobertaTokenizer(vocab=unigrams(ROBERTA)),
    "modernbert": modernbert,
    "clip": lambda: transformers.CLIPTokenizer(
        **pairs(["<|startoftext|>", "<|endoftext|>"], end_of_word_suffix="</w>")
    ),
    "siglip": siglip,
}
"""Name → how its tokenizer is made."""
