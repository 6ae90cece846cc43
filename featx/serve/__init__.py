"""Serving a head, a gallery or a backbone over HTTP."""
