"""
How a request names its developer: from `spec.matches` to conditions of a VirtualService.

A member of the baggage and a cookie are exact values to the user, and regular expressions to Istio.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any, Final

import re2

from virtualservice_operator.api import names
from virtualservice_operator.api.v1alpha1 import Match, RoutingPolicySpec
from virtualservice_operator.core.variables import NAMES, substitute, unknown_variables

VALUE_LIMIT: Final = 1024
_DEFAULT_MATCHES: Final = (Match(type="Header", name=names.DEFAULT_HEADER),)


class MatchKind(IntEnum):
    """The kinds of match in the order their rules are written: a prefix `al` must not take alice's requests."""

    EXACT = 0
    PREFIX = 1
    REGEX = 2
    SOURCE = 3


@dataclass(frozen=True, slots=True)
class RequestMatch:
    """
    How a request names one developer: a header compared with a value, or the caller's namespace (no header).

    `value` still holds the Service's variables, if the user wrote any. A member of the baggage and a cookie are exact
    values to the user and regular expressions to Istio: `kind` says where the rule stands, `comparison` how it compares.
    """

    kind: MatchKind
    header: str
    comparison: str
    value: str

    def for_service(self, name: str, namespace: str) -> "RequestMatch":
        """Return the match with the Service's variables replaced."""
        if "{{" not in self.value:
            return self
        values = {"ServiceName": name, "ServiceNamespace": namespace}
        return replace(self, value=substitute(self.value, values, _escape_for(self.comparison)))

    def condition(self) -> dict[str, Any]:
        """Return it as part of a VirtualService's match."""
        if self.kind is MatchKind.SOURCE:
            return {"sourceNamespace": self.value}
        return {"headers": {self.header: {self.comparison: self.value}}}

    def __str__(self) -> str:
        """Return it as it is shown in messages."""
        if self.kind is MatchKind.SOURCE:
            return f"callers in {self.value}"
        return f"{self.header}{_SIGNS[self.comparison]}{self.value}"


_SIGNS: Final = {"exact": "=", "prefix": "=^", "regex": "=~"}


def matches_of(spec: RoutingPolicySpec) -> tuple[Match, ...]:
    """Return how the policy's requests name their developer, with the default where it does not say."""
    return spec.matches or _DEFAULT_MATCHES


def developer_matches(
    match: Match, developer: str, listed: tuple[str, ...], usable: Sequence[str]
) -> list[RequestMatch]:
    """
    Return how one developer is named by one entry of `spec.matches`; a caller's namespace must be a usable one.

    `listed` are the developer's namespaces in order, `usable` those of them that exist and are allowed.
    """
    match match.type:
        case "Baggage":
            return [RequestMatch(MatchKind.EXACT, "baggage", "regex", _member(match.name or "", developer))]
        case "Cookie":
            return [RequestMatch(MatchKind.EXACT, "cookie", "regex", _cookie(match.name or "", developer))]
        case "SourceNamespace":
            return [RequestMatch(MatchKind.SOURCE, "", "", listed[0])] if listed[0] in usable else []
        case "Header":
            comparison = (match.match_type or "Exact").lower()
            values = {"DeveloperName": developer, "DeveloperNamespace": listed[0]}
            value = substitute(match.value or names.DEVELOPER_NAME_VARIABLE, values, _escape_for(comparison))
            return [RequestMatch(MatchKind[comparison.upper()], match.name or "", comparison, value)]


def presence_conditions(spec: RoutingPolicySpec) -> Iterator[dict[str, Any]]:
    """
    Yield conditions that hold where a request names any developer at all, by an exact header, baggage or a cookie.

    Other matches have no such thing: a prefix or a pattern says nothing of requests it does not match. To Istio, a header
    that is compared with nothing has to be there, whatever its value; its validation refuses `regex: "*"`, which means the
    same. Source: istio/istio:pilot/pkg/networking/core/route/route.go, canBeConvertedToPresentMatch.
    """
    for match in matches_of(spec):
        if match.type == "Baggage":
            yield {"headers": {"baggage": {"regex": rf"(.*,)?\s*{re.escape(match.name or '')}=.*"}}}
        elif match.type == "Cookie":
            yield {"headers": {"cookie": {"regex": rf"(.*;\s*)?{re.escape(match.name or '')}=.*"}}}
        elif match.type == "Header" and match.match_type in (None, "Exact"):
            yield {"headers": {match.name: {}}}


def _member(name: str, value: str) -> str:
    """
    Return the regular expression for a member of the baggage header, with boundaries: ann is not annabel.

    Source: W3C Baggage: members are parted by commas, their properties by semicolons, white space around is allowed.
    """
    return rf"(.*,)?\s*{re.escape(name)}={re.escape(value)}\s*([,;].*)?"


def _cookie(name: str, value: str) -> str:
    """Return the regular expression for a cookie. Source: RFC 6265, pairs are parted by a semicolon and a space."""
    return rf"(.*;\s*)?{re.escape(name)}={re.escape(value)}(;.*)?"


def _escape_for(comparison: str) -> Callable[[str], str]:
    return re.escape if comparison == "regex" else str


def match_problems(spec: RoutingPolicySpec) -> Iterator[str]:
    """Yield what is wrong with `spec.matches` and the schema cannot see. It depends on no developer and no Service."""
    for index, match in enumerate(matches_of(spec)):
        field = f"spec.matches[{index}].value"
        value = match.value or names.DEVELOPER_NAME_VARIABLE
        if unknown := unknown_variables(value):
            yield f"{field}: {{{{ {unknown[0]} }}}} is not a variable; use one of {', '.join(NAMES)}"
            continue
        # A name has 63 characters at the most; in a Regex each of them may need a backslash.
        longest = 126 if match.match_type == "Regex" else 63
        length = len(substitute(value, dict.fromkeys(NAMES, "n" * longest)).encode())
        if length > VALUE_LIMIT:
            yield (f"{field}: {length} bytes when each variable takes {longest}; Istio takes {VALUE_LIMIT}; shorten it")
        elif match.match_type == "Regex":
            yield from _regex_problems(field, value)


def _regex_problems(field: str, value: str) -> Iterator[str]:
    try:
        re2.compile(substitute(value, dict.fromkeys(NAMES, "x")), _quiet())
    except re2.error as error:
        yield f"{field}: {value!r} is not an RE2 regular expression: {_text(error)}; Istio knows no other kind"


def _quiet() -> "re2.Options":
    options = re2.Options()
    options.log_errors = False
    return options


def _text(error: Exception) -> str:
    argument = error.args[0] if error.args else error
    return argument.decode() if isinstance(argument, bytes) else str(argument)
