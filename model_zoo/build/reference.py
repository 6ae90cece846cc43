"""Vectors by the original torch weights; no code of featx, and no graph of the zoo."""

import io
from pathlib import Path

import librosa
import numpy as np
import soundfile
import soxr
import torch
from PIL import Image, ImageOps
from tokenizers.implementations import BertWordPieceTokenizer

from model_zoo.build import efficientnet, ge2e, minilm
from model_zoo.build.layers import FACTOR

MAX_TOKENS = 256
SIZE, RESIZED = 224, 256
RATE_HZ, HOP, FFT = 16000, 160, 400
WINDOW, STEP, MIN_COVERAGE, TARGET_DBFS = 160, 77, 0.75, -30.0


def unit(vectors: np.ndarray) -> np.ndarray:
    """Scale rows to unit length."""
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


@torch.inference_mode()
def embed_texts(texts: list[str], folder: Path, *, layers: tuple[int, ...]) -> np.ndarray:
    """Run one text at a time, unpadded: the mean needs no mask.  Layers lie side by side."""
    tokenizer = BertWordPieceTokenizer(str(folder / "vocab.txt"), lowercase=True)
    bert = minilm.load(folder)
    rows = []
    for text in texts:
        ids = tokenizer.encode(text).ids
        ids = [*ids[: MAX_TOKENS - 1], ids[-1]] if len(ids) > MAX_TOKENS else ids
        states = bert(torch.tensor([ids]), output_hidden_states=True).hidden_states
        means = [states[layer][0].double().mean(0).numpy() for layer in layers]
        rows.append(np.concatenate(means))
    return unit(np.stack(rows)).astype(np.float32)


def to_rgb(raw: bytes) -> Image.Image:
    """Decode to upright 8-bit RGB."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(raw)))
    if image.mode == "I;16":
        image = Image.fromarray(np.rint(np.asarray(image) / 257).astype(np.uint8))
    if image.mode == "P" or image.has_transparency_data:
        values = np.asarray(image.convert("RGBA"), np.float64)
        share = values[..., 3:] / 255
        flat = share * values[..., :3] + (1 - share) * 255
        return Image.fromarray(np.rint(flat).astype(np.uint8))
    return image.convert("RGB")


def crop(image: Image.Image) -> np.ndarray:
    """Resize the shorter side and take the middle."""
    short = min(image.size)
    width, height = (round(side * RESIZED / short) for side in image.size)
    image = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (round((side - SIZE) / 2) for side in (width, height))
    return np.asarray(image)[top : top + SIZE, left : left + SIZE]


@torch.inference_mode()
def embed_images(raws: list[bytes], weights: Path, *, stages: tuple[int, ...]) -> np.ndarray:
    """Run one image at a time through the original network, and average stages' ends too."""
    network = efficientnet.load(weights)
    maps: dict[int, torch.Tensor] = {}
    for block in network.net._blocks:  # the last block of as many channels is the stage's end
        block.register_forward_hook(lambda _, __, found: maps.update({found.shape[1]: found}))
    rows = []
    for raw in raws:
        pixels = torch.from_numpy(crop(to_rgb(raw)).astype(np.float32))
        image = ((pixels - 127) / 128).permute(2, 0, 1)[None]
        last = network(image)[0][0].numpy()
        means = [FACTOR * maps[channels][0].double().mean((1, 2)).numpy() for channels in stages]
        rows.append(np.concatenate([last, *means]).astype(np.float32))
    return np.stack(rows)


def windows(raw: bytes) -> np.ndarray:
    """Decode, resample, raise and cut as Resemblyzer does, without its voice detector."""
    wave, rate = soundfile.read(io.BytesIO(raw), dtype="float32", always_2d=True)
    wave = wave.mean(axis=1)
    wave = wave if rate == RATE_HZ else soxr.resample(wave, rate, RATE_HZ, quality="HQ")
    gain_db = TARGET_DBFS - 20 * np.log10(np.sqrt(np.mean(wave.astype(np.float64) ** 2)))
    wave = wave * np.float32(10 ** (max(gain_db, 0.0) / 20))
    frames = -(-(len(wave) + 1) // HOP)
    starts = list(range(0, max(1, frames - WINDOW + STEP + 1), STEP))
    if len(starts) > 1 and (len(wave) / HOP - starts[-1]) / WINDOW < MIN_COVERAGE:
        starts.pop()
    wave = np.pad(wave, (0, max(0, (starts[-1] + WINDOW) * HOP - len(wave))))
    mel = librosa.feature.melspectrogram(
        y=wave, sr=RATE_HZ, n_fft=FFT, hop_length=HOP, n_mels=ge2e.MELS
    ).T
    return np.stack([mel[start : start + WINDOW] for start in starts])


@torch.inference_mode()
def embed_sounds(raws: list[bytes], weights: Path) -> np.ndarray:
    """Average the unit vectors of a sound's windows, and scale the mean to unit length."""
    encoder = ge2e.load(weights)
    rows = []
    for raw in raws:
        vectors = encoder(torch.from_numpy(windows(raw).astype(np.float32))).double().numpy()
        rows.append(unit(unit(vectors).mean(axis=0)))
    return np.stack(rows).astype(np.float32)
