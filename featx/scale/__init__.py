"""Embedding with several workers: a source is cut into units, and a manifest says what is done."""

from featx.scale.assignment import Recipe
from featx.scale.run import ScaledRun

__all__ = ["Recipe", "ScaledRun"]
