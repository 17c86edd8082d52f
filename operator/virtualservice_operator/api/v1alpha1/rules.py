"""
Rules that the words of a schema cannot say, each declared once: in CEL for the API server, in Python for everybody else.

Without an API server there are `vso render`, and policies that were stored before a rule was there. A rule says the same
in both: had Python the narrower one, the operator would refuse what the API server took.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError, ValidationInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, core_schema

BROKEN: Final = "rule"
# The context in which a spec is read without its rules.
UNRULED: Final = {"rules": "none"}


@dataclass(frozen=True, slots=True)
class Rule:
    """
    What must hold of a value, and what to tell a person where it does not.

    `condition`: in CEL, of `self`. `holds`: the same in Python; None only where the condition compares with the object
    as it was before. `field`: which one of an object's is wrong, by its name in YAML. `write`: what to write instead, in
    CEL and in Python; it is put behind the message.
    """

    condition: str
    message: str
    holds: Callable[[Any], bool] | None
    field: str = ""
    write: tuple[str, Callable[[Any], str]] | None = None

    def as_schema(self) -> dict[str, str]:
        """Return it as an item of `x-kubernetes-validations`."""
        schema = {"rule": self.condition, "message": self.message}
        if self.write is not None:
            schema["messageExpression"] = f"'{self.message}: write ' + {self.write[0]}"
        if self.field:
            schema["fieldPath"] = f".{self.field}"
        return schema

    def told(self, value: Any) -> str:
        """Return the message about a value."""
        return self.message if self.write is None else f"{self.message}: write {self.write[1](value)}"


def validations(rules: Sequence[Rule]) -> dict[str, Any]:
    """Return rules as the API server reads them."""
    return {"x-kubernetes-validations": [rule.as_schema() for rule in rules]}


def broken_rules(rules: Sequence[Rule], value: Any, field_of: Callable[[str], Any]) -> ValidationError | None:
    """
    Return an error that holds every rule that does not hold of a value, or None.

    `field_of`: the value of a field by its name in YAML; pydantic puts the way to the object before it.
    """
    details = [
        InitErrorDetails(
            type=PydanticCustomError(BROKEN, rule.told(value)),
            loc=(rule.field,) if rule.field else (),
            input=field_of(rule.field) if rule.field else value,
        )
        for rule in rules
        if rule.holds is not None and not rule.holds(value)
    ]
    return ValidationError.from_exception_data("rules", details) if details else None


@dataclass(frozen=True, slots=True)
class Ruled:
    """
    Puts rules on one field, as part of an `Annotated`.

    `pattern` is for the schema only: the message of its own that the API server has for it names no remedy, so one of the
    rules says the same.
    """

    rules: tuple[Rule, ...]
    pattern: str | None = None

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Check the rules once the value is of the right type and length."""
        return core_schema.with_info_after_validator_function(self._checked, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Write the rules into the CRD."""
        pattern = {} if self.pattern is None else {"pattern": self.pattern}
        return {**handler(schema), **pattern, **validations(self.rules)}

    def _checked(self, value: Any, info: ValidationInfo) -> Any:
        if info.context is not UNRULED and (error := broken_rules(self.rules, value, lambda _: value)):
            raise error
        return value


def shaped(pattern: str, message: str, *more: Rule) -> Ruled:
    """Return the rule that a text has the shape of a pattern, in the words of the message, and further ones."""
    return Ruled((Rule(f"self.matches({quoted(pattern)})", message, lambda text: fits(pattern, text)), *more), pattern)


def fits(pattern: str, text: str) -> bool:
    """Tell whether a text matches a pattern that begins with ^ and ends with $, as RE2 sees it: no line may follow."""
    return re.fullmatch(pattern, text) is not None


def quoted(pattern: str) -> str:
    """Return a regular expression as a literal of CEL."""
    return f'r"{pattern}"'


def repeated(items: Sequence[Any]) -> Iterator[Any]:
    """Yield what is not for the first time in a list."""
    yield from (item for index, item in enumerate(items) if item in items[:index])
