"""The decision: values in, values out. No network, no clock, no log, no framework."""
