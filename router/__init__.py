"""The router: accepts writes over HTTP, puts each series on one sequencer, acknowledges once the buffer has it."""
