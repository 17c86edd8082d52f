"""
A real Kubernetes control plane for tests, without containers.

`build` finds or builds the programs, `server` runs them, `supervisor` sees to it that none outlives the test run;
`audit` and `metrics` read what the API server saw, and `cutter` breaks the network between it and a client.
"""
