"""A head for a domain that has shifted: methods, the choice among them, and the refusal."""
