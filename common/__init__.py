"""What every process of penstock speaks: ids, errors, clock, configuration, entry codec, object store."""
