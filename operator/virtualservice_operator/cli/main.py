"""`vso`: one program. This module only gathers the commands."""

import click

from virtualservice_operator.cli.crd import crd
from virtualservice_operator.cli.run import run


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="virtualservice-operator", prog_name="vso")
def main() -> None:
    """Route each developer's requests to their own copies of Services."""


main.add_command(run)
main.add_command(crd)
