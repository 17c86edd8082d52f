"""What the rooms of the API share: patterns, names, and the words of a schema."""

from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, StringConstraints
from pydantic.alias_generators import to_camel

DNS_LABEL: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
DEVELOPER_NAME: Final = r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$"
DNS_NAME: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
LABEL_KEY: Final = r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$"
LABEL_VALUE: Final = r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$"
HEADER_NAME: Final = r"^[A-Za-z0-9!#$%&'*+.^_|~-]+$"
LOWER_HEADER_NAME: Final = r"^[a-z0-9!#$%&'*+.^_|~-]+$"

DnsLabel = Annotated[str, StringConstraints(min_length=1, max_length=63, pattern=DNS_LABEL)]
DeveloperName = Annotated[str, StringConstraints(min_length=1, max_length=63, pattern=DEVELOPER_NAME)]
LabelKey = Annotated[str, StringConstraints(min_length=1, max_length=317, pattern=LABEL_KEY)]
LabelValue = Annotated[str, StringConstraints(max_length=63, pattern=LABEL_VALUE)]


def rule(condition: str, message: str, **more: str) -> dict[str, str]:
    """Return a rule in CEL, for `x-kubernetes-validations`."""
    return {"rule": condition, "message": message, **more}


def extension(**extra: Any) -> dict[str, Any]:
    """Return schema extensions under their real names: list_type -> x-kubernetes-list-type."""
    return {"x-kubernetes-" + key.replace("_", "-"): value for key, value in extra.items()}


SET = extension(list_type="set")
ATOMIC = extension(list_type="atomic")


class Model(BaseModel):
    """Frozen, camelCase outside, unknown fields refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)
