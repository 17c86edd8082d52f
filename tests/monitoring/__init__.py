"""A real Prometheus for the tests of metrics, alerts and dashboard, built from its Go module at the first use."""
