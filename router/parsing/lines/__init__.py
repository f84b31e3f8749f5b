"""Bodies of line protocol: from text to the payloads of records."""
