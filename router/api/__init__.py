"""What clients ask over HTTP, and what they are answered."""
