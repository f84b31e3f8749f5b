"""Bodies of line protocol of every kind, by seed, and the check that a parser treats them as the model does."""
