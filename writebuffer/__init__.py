"""The write buffer: one ordered stream for each sequencer, under one contract (contract.py)."""
