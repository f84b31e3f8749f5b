"""One module for each command of `penstock`; each exposes `command`, and imports only click and settings at the top."""
