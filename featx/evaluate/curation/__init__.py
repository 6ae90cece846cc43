"""What is wrong with a set: labels, duplicates, leaks between splits, strange items."""
