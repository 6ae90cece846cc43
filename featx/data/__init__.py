"""What is read and what is kept: sources, embedding sets, the cache, and the files below them."""
