"""Comparing backbones by what simple heads make of their embeddings of a user's own items."""
