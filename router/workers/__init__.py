"""The worker processes that parse: one for each slot of the router's core, and what crosses to them and back."""
