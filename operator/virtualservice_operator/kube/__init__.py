"""The API server: one call per function, no decisions."""
