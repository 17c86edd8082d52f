"""What the rooms of the API share: patterns, names, and the words of a schema."""

from typing import Annotated, Any, ClassVar, Final, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    GetJsonSchemaHandler,
    StringConstraints,
    ValidationInfo,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from virtualservice_operator.api.v1alpha1.rules import UNRULED, Rule, broken_rules, repeated, shaped, validations

DNS_LABEL: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
DEVELOPER_NAME: Final = r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$"
DNS_NAME: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
LABEL_KEY: Final = r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$"
LABEL_VALUE: Final = r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$"
HEADER_NAME: Final = r"^[A-Za-z0-9!#$%&'*+.^_|~-]+$"
LOWER_HEADER_NAME: Final = r"^[a-z0-9!#$%&'*+.^_|~-]+$"

DnsLabel = Annotated[
    str,
    StringConstraints(min_length=1, max_length=63),
    shaped(
        DNS_LABEL,
        "must be lower-case letters, digits and dashes, with a letter or digit at both ends, such as dev-alice",
    ),
]
DeveloperName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=63),
    shaped(
        DEVELOPER_NAME,
        "must be letters, digits, dashes, underscores and dots, with a letter or digit at both ends, such as alice",
    ),
]
LabelKey = Annotated[
    str,
    StringConstraints(min_length=1, max_length=317),
    shaped(LABEL_KEY, "must be a label's key, such as app or example.com/app"),
]
LabelValue = Annotated[
    str,
    StringConstraints(max_length=63),
    shaped(
        LABEL_VALUE,
        "must be a label's value: letters, digits, dashes, underscores and dots, with a letter or digit at both ends",
    ),
]


def extension(**extra: Any) -> dict[str, Any]:
    """Return schema extensions under their real names: list_type -> x-kubernetes-list-type."""
    return {"x-kubernetes-" + key.replace("_", "-"): value for key, value in extra.items()}


SET = extension(list_type="set")
ATOMIC = extension(list_type="atomic")


def _check_distinct(items: tuple[str, ...]) -> tuple[str, ...]:
    for item in repeated(items):
        raise ValueError(f"{item!r} is listed twice; keep one entry")
    return items


# What list type `set` says to the API server.
DISTINCT = AfterValidator(_check_distinct)


def _check_number(value: Any) -> Any:
    if isinstance(value, str | bool):
        raise ValueError("is no whole number; write it without quotes")  # noqa: TRY004 - pydantic makes a problem of it
    return value


# Pydantic would take "5" and true for numbers; the API server does not.
NUMBER = BeforeValidator(_check_number)


class Model(BaseModel):
    """Frozen, camelCase outside, unknown fields refused; `RULES` are about the object as a whole."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)
    RULES: ClassVar[tuple[Rule, ...]] = ()

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Write the rules into the CRD."""
        written = handler.resolve_ref_schema(handler(schema))
        return {**written, **validations(cls.RULES)} if cls.RULES else written

    @model_validator(mode="after")
    def _keeps_its_rules(self, info: ValidationInfo) -> Self:
        if info.context is not UNRULED and (error := broken_rules(self.RULES, self, self._field)):
            raise error
        return self

    def _field(self, alias: str) -> Any:
        """Return the value of a field by its name in YAML."""
        return next(getattr(self, name) for name, info in type(self).model_fields.items() if info.alias == alias)
