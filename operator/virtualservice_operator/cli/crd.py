"""`vso crd`: print the CustomResourceDefinition."""

import click

from virtualservice_operator.api.crd import crd_yaml


@click.command()
def crd() -> None:
    """Print the RoutingPolicy CRD, ready for kubectl apply -f -."""
    click.echo(crd_yaml(), nl=False)
