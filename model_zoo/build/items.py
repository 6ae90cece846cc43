"""The items of the golden files: ordinary ones, and those that pipelines get wrong."""

import io
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

LONG = (
    "The expedition left the harbour before dawn and followed the coast to the north. "
    "Each evening the crew wrote down the depth, the wind and the birds they had seen. "
)

TEXTS = [
    "A cat sleeps on the warm windowsill.",
    "The food was cold and the waiter never came back.",
    "no",
    "Der Fluß überschwemmte Ängelholm, and façade, naïve, Ångström, cafe\u0301 kept their accents.",
    "The launch went well 🚀🔥 and the family 👨‍👩‍👧‍👦 cheered 🇫🇷.",
    "机器学习模型把句子变成向量。",
    "Привет, мир! مرحبا بالعالم ᚠᚢᚦ",
    "tabs\tand\nnew lines\r\nand   many    spaces, a\u00a0hard one and a zero\u200bwidth one",
    "Visit https://example.org/a?b=c&d=%20 or mail me@example.org; price: $1,299.99 (\u221215 %)!",
    "<p>It&#39;s <b>bold</b></p> {'key': [1, 2, 3]} [CLS] [SEP] [MASK]",
    "pneumonoultramicroscopicsilicovolcanoconiosis " + "a" * 120 + " end",
    LONG * 12,  # cut at the maximum length
    "word " * 254,  # exactly the maximum length
    "word " * 255,  # one too many
]


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    """Return the bytes of an image file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def images(photographs: Path) -> list[bytes]:
    """Return encoded images, one of each kind that needs care."""
    cat, cup, person = (
        Image.open(photographs / f"{name}.png").convert("RGB")
        for name in ("chelsea", "coffee", "astronaut")
    )
    rocket = Image.open(photographs / "rocket.jpg").convert("RGB")
    cat, cup, rocket = (image.resize((270, 180)) for image in (cat, cup, rocket))
    person = person.resize((160, 160))
    ramp = np.linspace(0.0, 1.0, 160)
    alpha = Image.fromarray(np.rint(255 * np.outer(ramp, ramp[::-1])).astype(np.uint8))
    faded, grey_faded = person.copy(), person.convert("L")
    faded.putalpha(alpha)
    grey_faded.putalpha(alpha)
    deep = np.asarray(person.convert("L"), np.float64) * 250 + 64 * np.outer(ramp, ramp)
    turned, mirrored = Image.Exif(), Image.Exif()
    turned[0x0112], mirrored[0x0112] = 6, 5
    indexed = rocket.quantize(64)
    return [
        encode(cat, "JPEG", quality=90),
        encode(cup.transpose(Image.Transpose.ROTATE_90), "JPEG", quality=90, exif=turned),
        encode(cat.transpose(Image.Transpose.TRANSPOSE), "JPEG", quality=90, exif=mirrored),
        encode(indexed, "PNG"),
        encode(indexed, "PNG", transparency=int(np.bincount(np.asarray(indexed).ravel()).argmax())),
        encode(cat.convert("L"), "PNG"),
        encode(grey_faded, "PNG"),
        encode(faded, "PNG"),
        encode(cup.convert("CMYK"), "JPEG", quality=90),
        encode(Image.fromarray(np.rint(deep).astype(np.uint16)), "PNG"),
        encode(cat.convert("1"), "PNG"),
        encode(rocket.crop((100, 0, 157, 180)), "JPEG", quality=90),
        encode(cup.resize((223, 120)), "WEBP", quality=85),
        encode(cat.resize((7, 5)), "PNG"),
    ]


def sound(wave: np.ndarray, rate_hz: int, kind: str = "WAV", subtype: str = "PCM_16") -> bytes:
    """Return the bytes of a sound file."""
    buffer = io.BytesIO()
    soundfile.write(buffer, wave, rate_hz, format=kind, subtype=subtype)
    return buffer.getvalue()


def voice(seconds: float, rate_hz: int, pitch_hz: float) -> np.ndarray:
    """Return harmonics of a wavering pitch under an envelope of syllables."""
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    phase = 2 * np.pi * pitch_hz * (t + 0.01 * np.sin(2 * np.pi * 5 * t) / 5)
    harmonics = range(1, int(0.45 * rate_hz / pitch_hz))
    weights = [np.exp(-(((k * pitch_hz - 600) / 900) ** 2)) + 0.05 / k for k in harmonics]
    tone = sum(w * np.sin(k * phase) for k, w in zip(harmonics, weights, strict=True))
    envelope = 0.55 - 0.45 * np.cos(2 * np.pi * 3 * t)
    return 0.3 * envelope * tone / np.abs(tone).max()


def sounds() -> list[bytes]:
    """Return encoded sounds, one of each kind that needs care."""
    rng = np.random.default_rng(7)
    t = np.arange(16000 * 2) / 16000
    chirp = 0.4 * np.sin(2 * np.pi * (100 * t + 950 * t**2))
    noise = 0.2 * rng.standard_normal(16000 * 2).clip(-4, 4)
    stereo = np.stack([voice(1.8, 44100, 120), 0.5 * voice(1.8, 44100, 310)], axis=1)
    return [
        sound(voice(3.0, 16000, 110), 16000),
        sound(voice(3.0, 16000, 220), 16000, "FLAC"),
        sound(chirp, 16000),
        sound(noise, 16000),
        sound(stereo, 44100, "FLAC"),
        sound(voice(2.5, 8000, 150), 8000),
        sound(voice(1.7, 48000, 180), 48000, subtype="PCM_24"),
        sound(voice(2.0, 22050, 90), 22050, subtype="PCM_U8"),
        sound(voice(0.4, 16000, 200), 16000),  # a quarter of one window
        sound(voice(1.6, 16000, 130), 16000),  # one window exactly
        sound(voice(1.95, 16000, 130), 16000),  # the second window is covered too little
        sound(voice(2.0, 16000, 130), 16000),  # and here just enough
        sound(0.001 * voice(2.0, 16000, 160), 16000, subtype="PCM_32"),  # quiet: raised
        sound((8 * voice(2.0, 16000, 140)).clip(-1, 1), 16000),  # loud: not lowered
    ]
