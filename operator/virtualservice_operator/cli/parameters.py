"""What several commands check in the same way."""

import re
from typing import Final

import click

_DOMAIN: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_LONGEST_NAME: Final = 253


def domain(_context: click.Context, parameter: click.Parameter, value: str) -> str:
    """Return a DNS domain, or say that it is none."""
    if not _DOMAIN.fullmatch(value):
        raise click.BadParameter(f"{value!r} is not a DNS domain; write for example cluster.local", param=parameter)
    return value


def namespace(_context: click.Context, parameter: click.Parameter, value: str) -> str:
    """Return the name of a namespace, or say that it is none."""
    if not _LABEL.fullmatch(value):
        raise click.BadParameter(f"{value!r} is not a namespace's name", param=parameter)
    return value


def lease_name(_context: click.Context, parameter: click.Parameter, value: str) -> str:
    """Return the name of a Lease, or say that it is none."""
    if not _DOMAIN.fullmatch(value) or len(value) > _LONGEST_NAME:
        raise click.BadParameter(f"{value!r} is not a Lease's name", param=parameter)
    return value
