"""penstock's tests: what is promised, and the proof."""
