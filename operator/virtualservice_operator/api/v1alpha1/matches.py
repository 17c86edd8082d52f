"""How a request names its developer."""

from typing import Annotated, Final, Literal

from pydantic import ConfigDict, Field, StringConstraints

from virtualservice_operator.api.v1alpha1.fields import HEADER_NAME, Model, extension, rule

# Istio ignores keys of these names: it takes them for parts of the request line (api.md 3.2, rule 11).
RESERVED_HEADERS: Final = ("uri", "scheme", "method", "authority", "host")


class Match(Model):
    """One way in which a request names its developer."""

    model_config = ConfigDict(
        json_schema_extra=extension(
            validations=[
                rule(
                    "self.type == 'SourceNamespace' ? !has(self.name) : has(self.name)",
                    "name is needed for Header, Baggage and Cookie; SourceNamespace takes none",
                    fieldPath=".name",
                ),
                rule(
                    "self.type == 'Header' || (!has(self.value) && !has(self.matchType))",
                    "value and matchType are for Header only: Baggage, Cookie and SourceNamespace always compare "
                    "with the developer's name or namespace",
                ),
                rule(
                    "self.type != 'Header' || !has(self.name) || self.name == self.name.lowerAscii()",
                    "header names are lower case",
                    messageExpression="'header names are lower case: write ' + self.name.lowerAscii()",
                    fieldPath=".name",
                ),
                rule(
                    f"self.type != 'Header' || !has(self.name) || !(self.name.lowerAscii() in {list(RESERVED_HEADERS)})",
                    f"{', '.join(RESERVED_HEADERS)} are parts of the request line, not headers: "
                    "Istio would ignore this match; choose another header",
                    fieldPath=".name",
                ),
                rule(
                    r"!has(self.value) || self.value.matches('\\{\\{ *(DeveloperName|DeveloperNamespace) *\\}\\}')",
                    "value must contain {{ DeveloperName }} or {{ DeveloperNamespace }}, "
                    "or all developers would share one match",
                    fieldPath=".value",
                ),
            ]
        )
    )

    type: Literal["Header", "Baggage", "Cookie", "SourceNamespace"] = Field(
        description="Where a request names its developer: Header, a request header; Baggage, a member of the W3C "
        "baggage header; Cookie, a cookie; SourceNamespace, the namespace of the caller, which must have a sidecar."
    )
    name: Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=HEADER_NAME)] | None = Field(
        default=None,
        description="The header's name in lower case, the baggage member's key, or the cookie's name. SourceNamespace "
        "takes none.",
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
