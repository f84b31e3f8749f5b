"""What the ingester decides, without I/O."""
