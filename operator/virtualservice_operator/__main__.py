"""`python -m virtualservice_operator` is `vso`."""

from virtualservice_operator.cli.main import main

main(prog_name="vso")
