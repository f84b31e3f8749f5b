"""InfluxDB's line protocol: what a line says, and the strict parser that decides what a line is."""
