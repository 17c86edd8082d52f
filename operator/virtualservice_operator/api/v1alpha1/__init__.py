"""
RoutingPolicy v1alpha1: spec and status as pydantic models.

The CRD is made from these models (crd.py), so each limit stands once.
"""

from pydantic import Field

from virtualservice_operator.api.v1alpha1.copies import Copies, PlaceholderPolicy
from virtualservice_operator.api.v1alpha1.fields import DEVELOPER_NAME, Model
from virtualservice_operator.api.v1alpha1.matches import RESERVED_HEADERS, Match
from virtualservice_operator.api.v1alpha1.reading import read_spec
from virtualservice_operator.api.v1alpha1.routes import (
    RETRY_CONDITIONS,
    RETRY_STATUS,
    WHOLE_MILLISECONDS,
    RouteSettings,
)
from virtualservice_operator.api.v1alpha1.selection import DevelopersFrom, LabelSelector, LabelSelectorRequirement
from virtualservice_operator.api.v1alpha1.spec import RoutingPolicySpec
from virtualservice_operator.api.v1alpha1.status import RoutingPolicyStatus
from virtualservice_operator.api.v1alpha1.template import PolicyTemplate

__all__ = [
    "DEVELOPER_NAME",
    "RESERVED_HEADERS",
    "RETRY_CONDITIONS",
    "RETRY_STATUS",
    "WHOLE_MILLISECONDS",
    "Copies",
    "DevelopersFrom",
    "LabelSelector",
    "LabelSelectorRequirement",
    "Match",
    "PlaceholderPolicy",
    "PolicyTemplate",
    "RouteSettings",
    "RoutingPolicy",
    "RoutingPolicySpec",
    "RoutingPolicyStatus",
    "read_spec",
]


class RoutingPolicy(Model):
    """Says which Services of its namespace are routed to developers' copies, and how a request names its developer."""

    spec: RoutingPolicySpec = Field(description="What is asked for. `{}` is a complete policy.")
    status: RoutingPolicyStatus | None = Field(default=None, description="What the operator has done about it.")
