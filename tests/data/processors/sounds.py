"""Sounds as the feature extractors of transformers make them."""

# Of another environment:
# mypy: ignore-errors

import numpy as np
import transformers

import processor_inputs as inputs


def references() -> dict[str, np.ndarray]:
    """Return every array, named by settings and item."""
    found = {}
    for config, table in inputs.EXTRACTORS.items():
        facts = dict(table)
        extractor = getattr(transformers, facts.pop("feature_extractor_type"))(**facts)
        for item in inputs.LENGTHS:
            sound = inputs.sound(item)
            made = extractor(sound, sampling_rate=inputs.RATE_HZ, return_tensors="np")
            array = next(iter(made.values()))[0]
            found[f"{config}/{item}"] = inputs.kept(array, inputs.KEPT[config])
    return found
