"""
Filters and tests of templates: those of Jinja that work on plain data and cannot grow without bound, and a few of ours.

Each comes wrapped: what goes in costs fuel, what comes out is plain data within the limits. Absent on purpose: what pads
(center, wordwrap, format), prints what is no data (pprint, attr), looks for HTML (escape, safe, urlize), or rolls dice.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from jinja2 import Undefined, pass_context, pass_environment, pass_eval_context
from jinja2.filters import FILTERS
from jinja2.tests import TESTS

from virtualservice_operator.templates.values import TEXTS, Budget, Finished, Literal, Refused

_JINJA_FILTERS: Final = (
    *("abs", "capitalize", "count", "default", "d", "dictsort", "first", "float", "groupby", "int", "items"),
    *("last", "length", "list", "lower", "map", "max", "min", "reject", "rejectattr", "reverse", "round"),
    *("select", "selectattr", "slice", "sort", "sum", "title", "trim", "unique", "upper"),
)
_JINJA_TESTS: Final = (
    *("boolean", "defined", "divisibleby", "even", "false", "float", "in", "integer", "lower", "mapping", "none"),
    *("number", "odd", "sequence", "string", "true", "undefined", "upper", "iterable"),
    *("eq", "ne", "lt", "le", "gt", "ge", "==", "!=", "<", "<=", ">", ">=", "equalto"),
)
STRING_METHODS: Final = frozenset(
    {
        *("capitalize", "count", "endswith", "find", "isalnum", "isalpha", "isdigit", "islower", "isupper", "lower"),
        *("lstrip", "partition", "removeprefix", "removesuffix", "replace", "rpartition", "rsplit", "rstrip"),
        *("split", "splitlines", "startswith", "strip", "title", "upper"),
    }
)
MAPPING_METHODS: Final = frozenset({"get", "items", "keys", "values"})
LOOP_ATTRIBUTES: Final = frozenset(
    {"index", "index0", "revindex", "revindex0", "first", "last", "length", "previtem", "nextitem"}
)
_LONGEST_NUMBER: Final = 40
_INDENT_LIMIT: Final = 40
# What JSON writes as it is and YAML does not take, or takes for a line break.
_ESCAPED: Final = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ue000-\ue002\ud800-\udfff]")
_encode: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


def to_plain(value: Any) -> Any:
    """Return what an operation of Jinja gave as plain data: tuples, generators and views become lists."""
    kind = type(value)
    if kind in TEXTS or kind is dict or kind is list or value is None or kind in (bool, int, float):
        return _plain_items(value) if kind is list else value
    if isinstance(value, Undefined):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, tuple | Iterator | range | type({}.keys()) | type({}.values()) | type({}.items())):
        return _plain_items(value)
    return value


def _plain_items(values: Any) -> list[Any]:
    found = []
    for value in values:
        found.append(list(value) if isinstance(value, tuple) else value)
        if len(found) > 20_000:  # noqa: PLR2004 - values.NODE_LIMIT, before it is too late
            raise Refused("a list has more than 20000 parts")
    return found


def authored(result: Any, *inputs: Any) -> Any:
    """Return a text as the author's own where all that it was made of is."""
    if type(result) is str and all(type(item) is Literal or type(item) in (int, bool, float) for item in inputs):
        return Literal(result)
    return result


def tojson(value: Any) -> Finished:
    """Return a value as JSON, which is YAML in every place."""
    text = _encode(value)
    if not text.isascii() or "\x7f" in text:
        text = _ESCAPED.sub(_escape, text)
    return Finished(text)


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    if 0xD800 <= code <= 0xDFFF:  # noqa: PLR2004 - surrogates
        raise Refused("a text holds half a character (a lone surrogate)")
    return f"\\u{code:04x}"


def indent(text: str, width: int = 4, first: bool = False) -> str:  # noqa: FBT001, FBT002 - Jinja's arguments
    """Return text with its lines moved to the right, but for empty ones."""
    if type(width) is not int or not 0 <= width <= _INDENT_LIMIT:
        raise Refused(f"indent takes a number of spaces from 0 to {_INDENT_LIMIT}")
    space = " " * width
    lines = text.split("\n")
    moved = [lines[0] if not first or not lines[0] else space + lines[0]]
    moved.extend(space + line if line else line for line in lines[1:])
    return "\n".join(moved)


def join(values: Any, separator: str = "") -> str:
    """Return the parts of a list as one text."""
    if not isinstance(values, list | dict):
        raise Refused("join takes a list; of what else is a text made?")
    texts = [value if isinstance(value, str) else tojson(value) for value in values]
    return str(separator).join(texts)


def replace(text: str, old: str, new: str) -> str:
    """Return text with every occurrence of something replaced; the length is known before it is made."""
    if old == "":
        raise Refused("replace needs something to look for")
    grown = len(text) + text.count(old) * (len(new) - len(old))
    Budget().settle(grown)
    if grown > 256 * 1024:
        raise Refused("replace would make a text longer than 256 KiB")
    return str(text).replace(old, new)


def to_int(value: Any, default: int = 0) -> int:
    """Return a number for a text; the default where it is none."""
    if isinstance(value, str) and len(value) > _LONGEST_NUMBER:
        return default
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return default


def to_float(value: Any, default: float = 0.0) -> float:
    """Return a number for a text; the default where it is none."""
    if isinstance(value, str) and len(value) > _LONGEST_NUMBER:
        return default
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return default


def to_string(value: Any) -> str:
    """Return the text of a number or text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise Refused("string takes text or a number; write lists and mappings with tojson")


_OURS: Final[Mapping[str, Callable[..., Any]]] = {
    "tojson": tojson,
    "indent": indent,
    "join": join,
    "replace": replace,
    "re_escape": lambda text: re.escape(str(text)),
    "int": to_int,
    "float": to_float,
    "string": to_string,
}
FILTER_NAMES: Final = tuple(sorted({*_JINJA_FILTERS, *_OURS}))


def bounded_filters(budget: Callable[[], Budget]) -> dict[str, Callable[..., Any]]:
    """Return the filters; `budget` gives that of the rendering that goes on."""
    found = {name: _bounded(FILTERS[name], budget, takes_undefined=name in ("default", "d")) for name in _JINJA_FILTERS}
    return found | {name: _bounded(function, budget) for name, function in _OURS.items()}


def bounded_tests(budget: Callable[[], Budget]) -> dict[str, Callable[..., Any]]:
    """Return the tests."""
    known: Mapping[str, Any] = TESTS
    return {name: _weighed(known[name], budget) for name in _JINJA_TESTS}


def _pass_kind(function: Callable[..., Any]) -> Callable[[Any], Any]:
    """Return the mark that tells Jinja to give the environment to a wrapped filter, as the original has it."""
    kind = getattr(function, "jinja_pass_arg", None)
    if kind is None:
        return lambda wrapped: wrapped
    marks: dict[str, Callable[[Any], Any]] = {
        "context": pass_context,
        "eval_context": pass_eval_context,
        "environment": pass_environment,
    }
    return marks[kind.name]


def _bounded(
    function: Callable[..., Any], budget: Callable[[], Budget], *, takes_undefined: bool = False
) -> Callable[..., Any]:
    extra = 0 if getattr(function, "jinja_pass_arg", None) is None else 1

    def bounded(*arguments: Any, **more: Any) -> Any:
        given = (*arguments[extra:], *more.values())
        limits = budget()
        for item in given:
            if not isinstance(item, Undefined):
                limits.settle(item)
            elif not takes_undefined:
                str(item)  # raises: it says what is not there
        result = to_plain(function(*arguments, **more))
        if isinstance(result, Undefined):
            return result
        return limits.settle(authored(result, *given[:1]))

    return _pass_kind(function)(bounded)  # type: ignore[no-any-return]


def _weighed(function: Callable[..., Any], budget: Callable[[], Budget]) -> Callable[..., Any]:
    extra = 0 if getattr(function, "jinja_pass_arg", None) is None else 1

    def weighed(*arguments: Any, **more: Any) -> Any:
        limits = budget()
        for item in (*arguments[extra:], *more.values()):
            if not isinstance(item, Undefined):
                limits.settle(item)
        return function(*arguments, **more)

    return _pass_kind(function)(weighed)  # type: ignore[no-any-return]
