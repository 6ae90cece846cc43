"""From labelled embeddings to a head."""
