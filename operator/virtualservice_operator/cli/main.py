"""`vso`: one program. This module only gathers the commands."""

from importlib import import_module
from typing import Final

import click

# Loaded when it is asked for: the operator's own imports take longer than `vso render` as a whole.
_COMMANDS: Final = ("run", "render", "crd")


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"virtualservice_operator.cli.{cmd_name}"), cmd_name)
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="virtualservice-operator", prog_name="vso")
def main() -> None:
    """Route each developer's requests to their own copies of Services."""
