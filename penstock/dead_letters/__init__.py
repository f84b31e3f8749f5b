"""Dead letters, looked at and dealt with: listed, shown, applied after all, or removed."""
