"""Running a backbone before it is added, and its card."""
