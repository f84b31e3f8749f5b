"""A sequencer's manifest: its records, the state that they add up to, how they are loaded and committed."""
