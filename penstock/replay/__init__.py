"""A sequencer read again from some offset: counted, compared with the store, or put into it."""
