"""Following one stream: the claim, where to begin, polling, and whether the stream is still the same one."""
