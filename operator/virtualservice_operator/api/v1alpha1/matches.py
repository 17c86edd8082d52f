"""How a request names its developer."""

import re
from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field, StringConstraints

from virtualservice_operator.api.v1alpha1.fields import HEADER_NAME, Model
from virtualservice_operator.api.v1alpha1.rules import Rule, quoted, shaped

# Istio ignores keys of these names: it takes them for parts of the request line (api.md 3.2, rule 11).
RESERVED_HEADERS: Final = ("uri", "scheme", "method", "authority", "host")
# Wherever in the value: without ^ and $.
_OF_THE_DEVELOPER: Final = r"\{\{ *(DeveloperName|DeveloperNamespace) *\}\}"


class Match(Model):
    """One way in which a request names its developer."""

    RULES: ClassVar = (
        Rule(
            "self.type == 'SourceNamespace' ? !has(self.name) : has(self.name)",
            "name is needed for Header, Baggage and Cookie; SourceNamespace takes none",
            lambda match: (match.name is None) == (match.type == "SourceNamespace"),
            field="name",
        ),
        Rule(
            "self.type == 'Header' || (!has(self.value) && !has(self.matchType))",
            "value and matchType are for Header only: Baggage, Cookie and SourceNamespace always compare "
            "with the developer's name or namespace",
            lambda match: match.type == "Header" or (match.value is None and match.match_type is None),
        ),
        Rule(
            f"self.type != 'Header' || !has(self.name) || !self.name.matches({quoted(HEADER_NAME)}) || "
            "self.name == self.name.lowerAscii()",
            "header names are lower case",
            lambda match: match.type != "Header" or match.name is None or match.name == match.name.lower(),
            field="name",
            write=("self.name.lowerAscii()", lambda match: match.name.lower()),
        ),
        Rule(
            f"self.type != 'Header' || !has(self.name) || !(self.name.lowerAscii() in {list(RESERVED_HEADERS)})",
            f"{', '.join(RESERVED_HEADERS)} are parts of the request line, not headers: "
            "Istio would ignore this match; choose another header",
            lambda match: match.type != "Header" or (match.name or "").lower() not in RESERVED_HEADERS,
            field="name",
        ),
        Rule(
            f"!has(self.value) || self.value.matches({quoted(_OF_THE_DEVELOPER)})",
            "value must contain {{ DeveloperName }} or {{ DeveloperNamespace }}, or all developers would share one match",
            lambda match: match.value is None or re.search(_OF_THE_DEVELOPER, match.value) is not None,
            field="value",
        ),
    )

    type: Literal["Header", "Baggage", "Cookie", "SourceNamespace"] = Field(
        description="Where a request names its developer: Header, a request header; Baggage, a member of the W3C "
        "baggage header; Cookie, a cookie; SourceNamespace, the namespace of the caller, which must have a sidecar."
    )
    name: (
        Annotated[
            str,
            StringConstraints(min_length=1, max_length=128),
            shaped(
                HEADER_NAME, "must be letters, digits and !#$%&'*+.^_|~- only, without a space, such as x-developer"
            ),
        ]
        | None
    ) = Field(
        default=None,
        description="The header's name in lower case, the baggage member's key, or the cookie's name: letters, digits and "
        "!#$%&'*+.^_|~- only. SourceNamespace takes none.",
    )
    match_type: Literal["Exact", "Prefix", "Regex"] | None = Field(
        default=None,
        description="How the header's value is compared: Exact, Prefix, or Regex (RE2, the whole value). When absent: "
        "Exact. Values are case-sensitive. For Header only.",
    )
    value: Annotated[str, StringConstraints(min_length=1, max_length=1024)] | None = Field(
        default=None,
        description="The value to compare with, for Header only. May use {{ ServiceName }}, {{ ServiceNamespace }}, "
        "{{ DeveloperName }} and {{ DeveloperNamespace }} (the developer's first namespace), and must use one of the "
        "last two. In a Regex they are escaped. When absent: {{ DeveloperName }}.",
    )
