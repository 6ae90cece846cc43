"""Files that a program must survive, each with its expected outcome."""
