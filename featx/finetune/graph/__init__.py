"""A backbone's graph: made plain, looked through, and cut in two."""
