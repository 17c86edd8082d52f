"""
Filters and tests of templates: those of Jinja that work on plain data and cannot grow without bound, and a few of ours.

Each comes wrapped: what goes in costs fuel, what comes out is plain data within the limits. Absent on purpose: what pads
(center, wordwrap, format), prints what is no data (pprint, attr), looks for HTML (escape, safe, urlize), or rolls dice.
"""

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from jinja2 import Environment, Undefined, pass_context, pass_environment, pass_eval_context
from jinja2.filters import FILTERS, make_attrgetter
from jinja2.tests import TESTS

from virtualservice_operator.templates.values import NODE_LIMIT, TEXT_LIMIT, TEXTS, Budget, Literal, Refused

_JINJA_FILTERS: Final = (
    *("abs", "capitalize", "count", "default", "d", "dictsort", "first", "float", "groupby", "int", "items"),
    *("last", "length", "list", "lower", "map", "max", "min", "reject", "rejectattr", "reverse"),
    *("select", "selectattr", "slice", "sort", "title", "trim", "unique", "upper"),
)
_JINJA_TESTS: Final = (
    *("boolean", "defined", "divisibleby", "even", "false", "float", "in", "integer", "lower", "mapping", "none"),
    *("number", "odd", "sequence", "string", "true", "undefined", "upper", "iterable"),
    *("eq", "ne", "lt", "le", "gt", "ge", "==", "!=", "<", "<=", ">", ">=", "equalto"),
)
TEST_NAMES: Final = frozenset(_JINJA_TESTS)
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
# Filters that go through all parts of what they are given, and where they take a path of fields (None: by keyword only).
_GO_THROUGH: Final[Mapping[str, int | None]] = {
    **dict.fromkeys(("dictsort", "join", "list", "map", "reject", "select", "slice")),
    **dict.fromkeys(("groupby", "rejectattr", "selectattr", "sum"), 0),
    **dict.fromkeys(("max", "min", "unique"), 1),
    "sort": 2,
}
_PATH_LIMIT: Final = 8
# Filters and methods that look for one text in another. Some of Python's ways compare each character with each: a
# step pays for 4,096 of these, or for 8 characters of the longer text where the other is not known.
SEARCHES: Final = frozenset(
    {
        *("count", "find", "lstrip", "partition", "replace", "rpartition", "rsplit", "rstrip", "split", "strip"),
        *("endswith", "removeprefix", "removesuffix", "startswith", "trim"),
    }
)
_SEARCH_SHIFT: Final = 12
_HAYSTACK_SHIFT: Final = 3
_CHARACTER_SHIFT: Final = 2
# JSON is looked through for its texts once more.
_JSON_SHIFT: Final = 5
# What calling a filter or a test costs, whatever it does.
_CALL_STEPS: Final = 3
_NUMBERS: Final = (int, float)
_PRECISION_LIMIT: Final = 15
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
        if len(found) > NODE_LIMIT:
            raise Refused(f"a list has more than {NODE_LIMIT} parts")
    return found


def is_authored(inputs: Iterable[Any]) -> bool:
    """Tell whether all of these are the author's own: what he wrote, and numbers."""
    return all(type(item) is Literal or type(item) in (int, bool, float) for item in inputs)


def authored(result: Any, inputs: Iterable[Any]) -> Any:
    """Return a text as the author's own where all that it was made of is: pass everything that went in."""
    return Literal(result) if type(result) is str and is_authored(inputs) else result


def to_json(value: Any) -> str:
    """Return a value as JSON, which is YAML too."""
    text = _encode(value)
    if not text.isascii() or "\x7f" in text:
        text = _ESCAPED.sub(_escape, text)
    return text


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
    texts = [value if isinstance(value, str) else to_json(value) for value in values]
    _refuse_long(sum(map(len, texts)) + len(separator) * len(texts), "join")
    return str(separator).join(texts)


def replace(text: str, old: str, new: str) -> str:
    """Return text with every occurrence of something replaced; the length is known before it is made."""
    if old == "":
        raise Refused("replace needs something to look for")
    _refuse_long(len(text) + text.count(old) * (len(new) - len(old)), "replace")
    return str(text).replace(old, new)


def _refuse_long(size: int, name: str) -> None:
    """Refuse a text before it is made."""
    if size > TEXT_LIMIT:
        raise Refused(f"{name} would make a text longer than {TEXT_LIMIT} characters")


def to_rounded(value: float, precision: int = 0, method: str = "common") -> float:
    """Return a number rounded to some digits after the point."""
    if type(value) not in _NUMBERS or type(precision) is not int or abs(precision) > _PRECISION_LIMIT:
        raise Refused(
            f"round takes a number, and how many digits it keeps: from -{_PRECISION_LIMIT} to {_PRECISION_LIMIT}"
        )
    if method == "common":
        return round(value, precision)
    if method not in ("ceil", "floor"):
        raise Refused("round takes common, ceil or floor")
    power = float(10**precision)
    return (math.ceil(value * power) if method == "ceil" else math.floor(value * power)) / power


@pass_environment
def to_sum(environment: Environment, values: Any, attribute: str | int | None = None, start: float = 0) -> float:
    """Return the sum of numbers, or of a field of each item."""
    numbers = list(values if attribute is None else map(make_attrgetter(environment, attribute), values))
    if not all(type(number) in _NUMBERS for number in (start, *numbers)):
        raise Refused("sum is for numbers; lists are put together by +, texts by join")
    return sum(numbers, start)


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
    "indent": indent,
    "join": join,
    "replace": replace,
    "re_escape": lambda text: re.escape(str(text)),
    "int": to_int,
    "float": to_float,
    "string": to_string,
    "round": to_rounded,
    "sum": to_sum,
}
FILTER_NAMES: Final = frozenset({*_JINJA_FILTERS, *_OURS, "tojson"})


def bounded_filters(budget: Callable[[], Budget], tojson: Callable[[Any], Any]) -> dict[str, Callable[..., Any]]:
    """Return the filters; `budget` gives that of the rendering that goes on, which `tojson` is of too."""
    known: Mapping[str, Any] = {**{name: FILTERS[name] for name in _JINJA_FILTERS}, **_OURS, "tojson": tojson}
    return {name: _bounded(name, function, budget) for name, function in known.items()}


def bounded_tests(budget: Callable[[], Budget]) -> dict[str, Callable[..., Any]]:
    """Return the tests."""
    known: Mapping[str, Any] = TESTS
    return {name: _weighed(name, known[name], budget) for name in _JINJA_TESTS}


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


def _bounded(name: str, function: Callable[..., Any], budget: Callable[[], Budget]) -> Callable[..., Any]:
    extra = 0 if getattr(function, "jinja_pass_arg", None) is None else 1
    takes_undefined = name in ("default", "d")
    charge = _CHARGES.get(name)

    def bounded(*arguments: Any, **more: Any) -> Any:
        given = (*arguments[extra:], *more.values())
        limits = budget()
        limits.spend(_CALL_STEPS)
        for item in given:
            if not isinstance(item, Undefined):
                limits.settle(item)
            elif not takes_undefined:
                str(item)  # raises: it says what is not there
        if charge is not None:
            charge(limits, name, given, more)
        result = to_plain(function(*arguments, **more))
        if isinstance(result, Undefined):
            return result
        return limits.settle(authored(result, given))

    return _pass_kind(function)(bounded)  # type: ignore[no-any-return]


def _charge_parts(budget: Budget, name: str, given: Sequence[Any], more: Mapping[str, Any]) -> None:
    """Take fuel for each part of what a filter goes through, and for each field on the path to what it looks at."""
    place, steps = _GO_THROUGH[name], 1
    path = more.get("attribute")
    if path is None and place is not None and len(given) - len(more) > place + 1:
        path = given[place + 1]
    if isinstance(path, str):
        steps = 1 + path.count(".") + path.count(",")
        if steps > _PATH_LIMIT:
            raise Refused(f"{name} takes a path of at most {_PATH_LIMIT} fields")
    if given and isinstance(given[0], list | dict | str):
        budget.spend(steps * len(given[0]))


def charge_search(budget: Budget, _name: str, given: Sequence[Any], _more: Mapping[str, Any]) -> None:
    """Take fuel for looking for one text in another: at worst each character is compared with each."""
    sizes = [len(item) for item in given if isinstance(item, str)]
    budget.spend(sizes[0] * sum(sizes[1:]) >> _SEARCH_SHIFT if sizes else 0)


def _charge_characters(budget: Budget, _name: str, given: Sequence[Any], _more: Mapping[str, Any]) -> None:
    charge_characters(budget, given[0] if given else None)


def _charge_lists(budget: Budget, _name: str, given: Sequence[Any], more: Mapping[str, Any]) -> None:
    """Take fuel for each list that a filter makes, empty ones too."""
    _charge_parts(budget, _name, given, more)
    count = more.get("slices", given[1] if len(given) > 1 else 0)
    budget.spend(max(0, count) if type(count) is int else 0)


def charge_json(budget: Budget, text: str) -> None:
    """Take fuel for JSON, where values get their marks."""
    if text.isascii():
        budget.spend(len(text) >> _JSON_SHIFT)
    else:
        charge_haystack(budget, text)


def charge_characters(budget: Budget, value: Any) -> None:
    """Take fuel for a text whose characters are changed one by one."""
    if isinstance(value, str):
        budget.spend(len(value) >> _CHARACTER_SHIFT)


def charge_haystack(budget: Budget, value: Any) -> None:
    """Take fuel for going through a text with a look at each of its characters."""
    if isinstance(value, str):
        budget.spend(len(value) >> _HAYSTACK_SHIFT)


# What some filters cost beside the size of what goes in and comes out.
_CHARGES: Final[Mapping[str, Callable[[Budget, str, Sequence[Any], Mapping[str, Any]], None]]] = {
    **dict.fromkeys(_GO_THROUGH, _charge_parts),
    **dict.fromkeys(SEARCHES, charge_search),
    **dict.fromkeys(("re_escape", "title"), _charge_characters),
    "slice": _charge_lists,
}


def _weighed(name: str, function: Callable[..., Any], budget: Callable[[], Budget]) -> Callable[..., Any]:
    extra = 0 if getattr(function, "jinja_pass_arg", None) is None else 1

    def weighed(*arguments: Any, **more: Any) -> Any:
        limits = budget()
        limits.spend(_CALL_STEPS)
        for item in (*arguments[extra:], *more.values()):
            if not isinstance(item, Undefined):
                limits.settle(item)
                if name == "in":
                    charge_haystack(limits, item)
        return function(*arguments, **more)

    return _pass_kind(function)(weighed)  # type: ignore[no-any-return]
