"""From buffered rows to durable ones: merge and sort, Parquet, and the manifest that names the files."""
