"""Galleries on disk, ``X.knn/``: an index with its items, that grow and forget while searched."""
