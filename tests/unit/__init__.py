"""One part at a time, without processes or network."""
