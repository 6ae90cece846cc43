"""Frozen backbones: a manifest, a modality, a session and pooling make `encode`."""
