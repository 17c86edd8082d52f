"""A template's output against a schema: what does not fit, in words for the template's author."""

import difflib
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

import re2
from jsonschema import Draft202012Validator, FormatChecker, ValidationError
from jsonschema.protocols import Validator

from virtualservice_operator.printable import shown
from virtualservice_operator.templates import schema

_SHOWN: Final = 3
_QUOTED: Final = 100
_TYPES: Final = {
    "object": "a mapping",
    "array": "a list",
    "string": "text (in quotes, or with | tojson)",
    "integer": "a whole number (of a text: | int)",
    "number": "a number (of a text: | float)",
    "boolean": "true or false",
}
# What people write most often and may not, each with the way.
_KNOWN: Final = {
    "ownerReferences": "the operator sets the owners; leave it out",
    "finalizers": "the operator sets none; leave it out",
    "status": "a template says metadata and spec only; leave it out",
    "delegate": "a template cannot delegate; write the rules out",
    "tcp": "only http rules are routed; leave it out",
    "tls": "only http rules are routed; leave it out",
}

# What Envoy takes is larger; but a few characters can be a program of megabytes, and compiling it holds up everything.
_REGEX_MEMORY: Final = 256 * 1024
_LONGEST_REGEX: Final = 1024
_REGEXES: Final = 1024
# Instructions of RE2 and characters, of all regular expressions of a document; a thousand take less than a millisecond.
_REGEX_PROGRAM: Final = 200_000
# Each is a table of hundreds of ranges, which is read before RE2 looks at its memory.
_UNICODE_GROUPS: Final = 32


class _RegexError(ValueError):
    """What is wrong about a regular expression."""


class _Regexes:
    """
    The regular expressions of one document: each is compiled once, and together they may cost so much.

    Counted, not timed: the verdict is kept, and must be the same on every machine.
    """

    def __init__(self) -> None:
        self.checker: Final = FormatChecker(formats=())
        self.checker.checks("re2", raises=_RegexError)(self._check)
        self._known: dict[str, str] = {}
        self._program = 0

    def _check(self, value: object) -> bool:
        if not isinstance(value, str) or len(value) > _LONGEST_REGEX:
            return True  # another rule says so
        if value not in self._known:
            self._known[value] = self._judge(value)
        if self._known[value]:
            raise _RegexError(self._known[value])
        return True

    def _judge(self, value: str) -> str:
        if len(self._known) >= _REGEXES:
            return f"comes after {_REGEXES} different regular expressions; write fewer"
        if self._program > _REGEX_PROGRAM:
            return f"comes after regular expressions of {_REGEX_PROGRAM} instructions of RE2; write simpler ones"
        if value.count("\\p") + value.count("\\P") > _UNICODE_GROUPS:
            return f"has more than {_UNICODE_GROUPS} groups of Unicode (\\p); write fewer"
        options = re2.Options()
        options.log_errors, options.max_mem = False, _REGEX_MEMORY
        try:
            self._program += len(value) + re2.compile(value, options).programsize
        except re2.error as error:
            if "too large" in str(error):
                return "is too large a regular expression; write a simpler one"
            return "is not an RE2 regular expression; Istio knows no other kind"
        return ""


def make_validator(wanted: schema.Schema) -> Validator:
    """Return what holds data against a schema."""
    return Draft202012Validator(wanted)


VIRTUAL_SERVICE: Final = make_validator(schema.VIRTUAL_SERVICE)
DEVELOPER_ROUTES: Final = make_validator(schema.DEVELOPER_ROUTES)


def problems(validator: Validator, data: Any, root: str = "") -> list[tuple[str, str]]:
    """Return the first problems, each with the path of the field and what is wrong about it."""
    judge = validator.evolve(format_checker=_Regexes().checker)
    found = (problem for error in judge.iter_errors(data) for problem in _explain(error, root))
    return list(islice(found, _SHOWN))


def _explain(error: ValidationError, root: str) -> Iterator[tuple[str, str]]:
    value: Any = error.instance
    limit: Any = error.validator_value
    path = root + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path)
    path = path.removeprefix(".")
    match error.validator:
        case "additionalProperties" if isinstance(error.schema, dict) and limit is False:
            known = error.schema.get("properties", {})
            for name in sorted(set(value) - set(known)):
                yield (f"{path}.{name}" if path else name), _unknown(name, list(known))
        case "required":
            missing = [name for name in limit if name not in value]
            yield path or "the document", f"{', '.join(missing)} is missing; add it"
        case "type":
            yield path or "the document", f"{shown(value, _QUOTED)} is not {_TYPES.get(str(limit), str(limit))}"
        case "oneOf" if path.endswith("]"):
            yield path, f"a rule has exactly one of {', '.join(schema.ANSWERS)}"
        case "minProperties" | "maxProperties" if isinstance(value, dict):
            known = ", ".join(error.schema.get("properties", {})) if isinstance(error.schema, dict) else ""
            yield path, f"it has {len(value)} fields; write one of {known}" if known else "it has too many fields"
        case "format":
            yield path, f"{shown(value, _QUOTED)} {error.cause}"
        case "enum" | "const":
            allowed = limit if isinstance(limit, list) else [limit]
            yield path, f"{shown(value, _QUOTED)} is not {' or '.join(map(str, allowed))}"
        case _:
            yield path or "the document", _limit(error)


def _unknown(name: str, known: list[str]) -> str:
    if name in _KNOWN:
        return _KNOWN[name]
    near = difflib.get_close_matches(name[:_QUOTED], known, 1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
    return f"there is no such field; {hint}"


# What a value is to be like, where its pattern alone says little.
_WAYS: Final = {schema.HEADER_VALUE: "a % is written %%, and control characters cannot be written"}
_LIMITS: Final = {
    "minLength": "shorter than",
    "maxLength": "longer than",
    "minItems": "shorter than",
    "maxItems": "longer than",
    "minimum": "less than",
    "maximum": "more than",
}


def _limit(error: ValidationError) -> str:
    word = _LIMITS.get(str(error.validator))
    limit: Any = error.validator_value
    told = shown(error.instance, _QUOTED)
    if word is not None:
        return f"{told} is {word} {limit}"
    if error.validator == "pattern":
        return f"{told} is not written as it must be: {_WAYS.get(limit, limit)}"
    return f"{told} does not fit ({error.validator})"
