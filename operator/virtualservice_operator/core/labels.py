"""Label selectors, as Kubernetes evaluates them."""

from collections.abc import Mapping

from virtualservice_operator.api.v1alpha1 import LabelSelector, LabelSelectorRequirement


def matches(selector: LabelSelector, labels: Mapping[str, str]) -> bool:
    """Tell whether all requirements hold. An empty selector holds for everything."""
    return all(labels.get(key) == value for key, value in (selector.match_labels or {}).items()) and all(
        _holds(requirement, labels) for requirement in selector.match_expressions or ()
    )


def _holds(requirement: LabelSelectorRequirement, labels: Mapping[str, str]) -> bool:
    """NotIn holds where the label is absent. Source: apimachinery/pkg/labels, Requirement.Matches."""
    value = labels.get(requirement.key)
    match requirement.operator:
        case "In":
            return value is not None and value in (requirement.values or ())
        case "NotIn":
            return value is None or value not in (requirement.values or ())
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
