"""The write buffer: one ordered stream for each sequencer, behind one contract (contract.py)."""
