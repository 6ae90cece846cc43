"""Transfer: which backbone suits, what to label next, and heads for a domain that has shifted."""
