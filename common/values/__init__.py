"""Values that every process speaks in: ids, errors, times, settings, schemas, write tokens. No I/O."""
