"""Names of what an exported graph takes and gives."""

EMBEDDING = "embedding"
"""(B, D) float32: output of a whole file, input of one that holds the head alone."""

LOGITS = "logits"
"""(B, C) float32, inside: what the softmax or the sigmoid is taken of, or the values themselves."""

PROBABILITIES = "probabilities"
"""(B, C) float32, of classes and of tags."""

LABEL = "label"
"""The most probable class, (B,); or (B, C): the name of each tag that is given, else ``""``."""

VALUES, INTERVAL = "values", "interval"
"""(B, T) float32 and (B, T, 2): what a regressor estimates, and from where to where it may be."""

NOVEL = "novel"
"""(B,) bool: whether an item is unlike everything trained on."""

WINDOWS = "window_embedding"
"""(W, D) float32: of each window of a sound, before those of one sound are averaged."""

ITEM = "item"
"""(W,) int64, may be left out: the number of the sound that each window is of, from 0."""

PIXELS = "pixels"
"""(B, H, W, 3) uint8, where the graph resizes and normalises images itself."""

OWN = frozenset(
    {EMBEDDING, LOGITS, PROBABILITIES, LABEL, VALUES, INTERVAL, NOVEL, WINDOWS, ITEM, PIXELS}
)
"""Names that nothing of a backbone may have."""
