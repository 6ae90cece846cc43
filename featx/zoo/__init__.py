"""The zoo: which backbones there are, where their files lie, and that they are the right ones."""
