"""The operator behind a proxy that breaks things, and on an API server that comes and goes; `make faults` has the table."""
