"""Teaching: examples added and removed while a gallery answers."""
