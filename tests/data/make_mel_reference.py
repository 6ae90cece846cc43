"""Write ``mel_reference.npz``: mel spectrograms as librosa computes them.

Run with an environment that holds librosa: ``python tests/data/make_mel_reference.py``.
"""

from pathlib import Path

import librosa  # type: ignore[import-not-found,unused-ignore]
import numpy as np

CASES = {
    "ge2e": {"sr": 16000, "n_fft": 400, "hop_length": 160, "n_mels": 40, "htk": False, "power": 2},
    "htk": {"sr": 16000, "n_fft": 512, "hop_length": 200, "n_mels": 26, "htk": True, "power": 2},
    "odd": {"sr": 8000, "n_fft": 255, "hop_length": 100, "n_mels": 20, "htk": False, "power": 1},
}


def main() -> None:
    rng = np.random.default_rng(7)
    t = np.arange(8000) / 16000
    sound = (0.3 * np.sin(2 * np.pi * (200 + 3000 * t) * t)).astype(np.float32)
    sound += (0.02 * rng.standard_normal(len(t))).astype(np.float32)
    arrays = {"sound": sound}
    for name, options in CASES.items():
        arrays[name] = librosa.feature.melspectrogram(y=sound, **options).T
    np.savez_compressed(Path(__file__).parent / "mel_reference.npz", allow_pickle=False, **arrays)


if __name__ == "__main__":
    main()
