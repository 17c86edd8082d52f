"""
Blocks: parts of a spec that one policy supplies whole, the first in precedence that sets it.

No field here has a default in the schema, or "unset" could not be told from a choice; the defaults are these.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from virtualservice_operator.api.v1alpha1 import Copies, PlaceholderPolicy, RouteSettings, RoutingPolicySpec
from virtualservice_operator.core.resolution import ResolvedPolicy
from virtualservice_operator.core.template import Template, template_of

DEFAULT_REJECT_STATUS: Final = 503
DEFAULT_REJECT_BODY: Final = '{"error":"no copy of {{ ServiceName }} for developer {{ DeveloperName }}"}'
DEFAULT_EXTERNAL_NAME: Final = "placeholder.local"
NO_SETTINGS: Final = RouteSettings()
NO_SCOPES: Final[tuple[str, ...]] = ()
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Templated:
    """The template that holds, and the policy it comes from."""

    template: Template
    policy: ResolvedPolicy


@dataclass(frozen=True, slots=True)
class Blocks:
    """What holds for one Service, after merging and with the operator's defaults."""

    rejects_missing: bool = False
    rejects_unknown: bool = False
    reject_status: int = DEFAULT_REJECT_STATUS
    reject_body: str = DEFAULT_REJECT_BODY
    default_route: RouteSettings = NO_SETTINGS
    developer_route: RouteSettings = NO_SETTINGS
    export_to: tuple[str, ...] = ()
    routed_to_header: str | None = None
    only_routed: bool = False
    keeps: bool = False
    placeholder_mode: str = "Disabled"
    external_name: str = DEFAULT_EXTERNAL_NAME
    places_all: bool = False
    placeholder_seconds: int | None = None
    templated: Templated | None = None

    @property
    def makes_placeholders(self) -> bool:
        """Tell whether missing copies have placeholders; where they are rejected, only aliases make sense."""
        return self.placeholder_mode == "Alias" or (self.placeholder_mode != "Disabled" and not self.rejects_missing)

    @property
    def routes_placeholders(self) -> bool:
        """Tell whether a developer's requests go to their placeholder."""
        return self.makes_placeholders and self.placeholder_mode != "Alias"


def resolve_blocks(policies: Sequence[ResolvedPolicy]) -> Blocks:
    """Return the blocks for a Service that these policies govern; they are in precedence."""

    def first(block: Callable[[RoutingPolicySpec], _T | None], default: _T) -> _T:
        return next((found for policy in policies if (found := block(policy.spec)) is not None), default)

    copies = first(lambda spec: spec.copies, Copies())
    reject = copies.reject
    placeholder = first(lambda spec: spec.placeholder, PlaceholderPolicy())
    return Blocks(
        rejects_missing=copies.when_missing == "Reject",
        rejects_unknown=copies.unknown_developer == "Reject",
        reject_status=(reject.status if reject else None) or DEFAULT_REJECT_STATUS,
        reject_body=(reject.body if reject else None) or DEFAULT_REJECT_BODY,
        default_route=first(lambda spec: spec.default_route, NO_SETTINGS),
        developer_route=first(lambda spec: spec.developer_route, NO_SETTINGS),
        export_to=tuple(sorted(first(lambda spec: spec.export_to, NO_SCOPES))),
        routed_to_header=first(lambda spec: spec.routed_to_header, None),
        only_routed=first(lambda spec: spec.virtual_service_for, "EveryService") == "RoutedServices",
        keeps=first(lambda spec: spec.foreign_virtual_services, "Yield") == "Keep",
        placeholder_mode=placeholder.mode or "Disabled",
        external_name=placeholder.external_name or DEFAULT_EXTERNAL_NAME,
        places_all=placeholder.create_for == "AllServices",
        placeholder_seconds=placeholder.ttl_seconds,
        templated=next(_templates(policies), None),
    )


def _templates(policies: Sequence[ResolvedPolicy]) -> Iterator[Templated]:
    for policy in policies:
        if policy.spec.template is not None:
            yield Templated(template_of(policy.spec.template), policy)


def route_settings(settings: RouteSettings) -> dict[str, Any]:
    """Return the settings of a rule as Istio's HTTPRoute has them."""
    written = settings.model_dump(by_alias=True, exclude_none=True)
    return {key: written[key] for key in ("timeout", "retries") if key in written}
