"""Arrow IPC streams from senders that are not trusted, checked before Arrow allocates memory for them."""
