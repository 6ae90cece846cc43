"""HTTP: what every request passes, and what is said where something is wrong."""
