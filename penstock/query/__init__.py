"""SQL over files and memory."""
