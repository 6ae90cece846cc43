"""The rows of an embedding set or a gallery, written for other libraries."""
