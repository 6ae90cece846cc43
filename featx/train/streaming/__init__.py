"""Heads of sets that are larger than memory: sums of their segments, and a sample of their rows."""
