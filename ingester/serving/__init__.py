"""What an ingester answers while it runs: queries over Flight, health, metrics and status over HTTP."""
