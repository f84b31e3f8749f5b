"""From the bodies of requests to the payloads of records."""
