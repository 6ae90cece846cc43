"""Which items of a set to label next."""
