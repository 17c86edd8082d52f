"""
What can go wrong with the mesh of the tests.

    MeshError
     ├── MachineError              this machine cannot run it: the message names what is missing
     └── StaleConfigurationError   an Envoy answers by a configuration that is not the one in the cluster
"""

from controlplane.errors import ControlPlaneError


class MeshError(ControlPlaneError):
    """The mesh of the tests cannot do what it was asked for."""


class MachineError(MeshError):
    """This machine cannot run the mesh."""


class StaleConfigurationError(MeshError):
    """An Envoy does not have, or has refused, the configuration that the cluster asks for; its answers prove nothing."""
