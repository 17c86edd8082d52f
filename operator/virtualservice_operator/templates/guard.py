"""
YAML without what YAML is abused for: from text to plain data, on libyaml's events.

    refused      anchors, aliases, tags, merge keys, equal keys, a second document; too long, too many events, too wide, too deep
    resolved     as YAML 1.2 (core) and JSON do: `no`, `0777` and `1:30` are not false, 511 and 90

PyYAML's own loader takes the last of two equal keys, and builds what a few lines of aliases blow up.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from virtualservice_operator.templates.values import OUTPUT_LIMIT

TEXT_LIMIT: Final = OUTPUT_LIMIT
EVENT_LIMIT: Final = 20_000
# Nothing in a VirtualService is longer than its list of rules. Building is what costs (libyaml reads a text of the largest
# size in 2 ms, each event takes 1 to 3 us), so a bomb of keys or items ends at a twentieth of what it would take.
WIDTH_LIMIT: Final = 1024
DEPTH_LIMIT: Final = 50
# Lines are kept down to a field of an http rule: spec, http, 0, match.
LINE_DEPTH: Final = 4
# A prefix of 253 characters, a slash and a name of 63: nothing in Kubernetes has a longer one.
LONGEST_KEY: Final = 317
_LONGEST_NUMBER: Final = 40

_CONSTANTS: Final = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER: Final = re.compile(r"[-+]?[0-9]+")
_BASED: Final = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NO_NUMBER: Final = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
# Only a scalar that begins so can be anything but text.
_MAYBE_NOT_TEXT: Final = frozenset("~0123456789+-.tTfFnN")

# libyaml's parser alone; where PyYAML was built without it, its own, which is slower and says the same.
_Parser: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Unacceptable(Exception):  # noqa: N818 - it says what the text is
    """A text that is not taken: `line` counts from 0, in the text. `is_syntax`: it is no YAML at all."""

    def __init__(self, line: int, message: str, *, is_syntax: bool = False) -> None:
        super().__init__(message)
        self.line = line
        self.message = message
        self.is_syntax = is_syntax


@dataclass(slots=True)
class Loaded:
    """
    What a text says, and on which line of it (from 0) each field stands, by path such as `spec.http[0].match`.

    `events`: how many parts it has.
    """

    data: Any = None
    lines: dict[str, int] = field(default_factory=dict)
    events: int = 0


# Looks at a scalar: its text, whether it is plain, its line; returns the text, and whether it must stay text.
Inspector = Callable[[str, bool, int], tuple[str, bool]]


def load(text: str, inspect: Inspector | None = None) -> Loaded:
    """
    Return the one document of a text.

    `inspect` is asked about each scalar that holds a mark of `marks.py`.
    Errors: `Unacceptable`.
    """
    if len(text) > TEXT_LIMIT:
        raise Unacceptable(0, f"it is longer than {TEXT_LIMIT} characters; make it smaller")
    builder = _Builder(inspect)
    try:
        builder.take_all(_Parser(text).get_event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = error.problem or error.context or "it cannot be read"
        line = min(mark.line, text.count("\n")) if mark is not None else 0
        raise Unacceptable(line, f"this is no YAML: {what}", is_syntax=True) from None
    except (yaml.YAMLError, UnicodeError) as error:
        raise Unacceptable(0, f"this is no YAML: {_short(error)}", is_syntax=True) from None
    if builder.documents == 0:
        raise Unacceptable(0, "it is empty; one YAML document is needed")
    return builder.loaded


def _short(error: Exception) -> str:
    return str(error).splitlines()[0][:100] if str(error) else type(error).__name__


class _Builder:
    """Builds data from events without recursion; `_outer` has what is around the list or mapping at hand."""

    __slots__ = ("_container", "_inspect", "_key", "_outer", "_path", "documents", "loaded")

    def __init__(self, inspect: Inspector | None) -> None:
        self.loaded = Loaded()
        self.documents = 0
        self._inspect = inspect
        self._outer: list[tuple[Any, str]] = []
        self._container: Any = None
        self._path = ""
        self._key: str | None = None

    def take_all(self, next_event: Callable[[], Any]) -> None:
        """Take every event of a text; this is most of what a rendering costs beside libyaml."""
        take: dict[type, Callable[[Any], None]] = {
            yaml.ScalarEvent: self._take_scalar,
            yaml.MappingStartEvent: self._open_mapping,
            yaml.SequenceStartEvent: self._open_sequence,
            yaml.MappingEndEvent: self._close,
            yaml.SequenceEndEvent: self._close,
            yaml.AliasEvent: self._refuse_alias,
            yaml.DocumentStartEvent: self._begin_document,
            yaml.DocumentEndEvent: _ignore,
            yaml.StreamStartEvent: _ignore,
        }
        count = 0
        while (kind := type(event := next_event())) is not yaml.StreamEndEvent:
            count += 1
            if count > EVENT_LIMIT:
                raise Unacceptable(_line(event), f"it has more than {EVENT_LIMIT} parts; make it smaller")
            take[kind](event)
        self.loaded.events = count

    def _take_scalar(self, event: Any) -> None:
        if event.anchor is not None or event.tag is not None:
            _refuse_properties(event)
        text, is_plain = event.value, not event.style
        if self._inspect is not None and not text.isascii():
            text, stays_text = self._inspect(text, is_plain, event.start_mark.line)
            is_plain = is_plain and not stays_text
        container = self._container
        if type(container) is dict:
            key = self._key
            if key is None:
                self._take_key(event, text, plain=is_plain)
            else:
                container[key] = _resolve(text, event) if is_plain else text
                self._key = None
        else:
            self._add(event, _resolve(text, event) if is_plain else text)

    def _take_key(self, event: Any, text: str, *, plain: bool) -> None:
        if plain and text == "<<":
            raise Unacceptable(_line(event), "<< is a merge key; write the fields out")
        if len(text) > LONGEST_KEY:
            raise Unacceptable(
                _line(event), f"the key {text[:20]!r}… is longer than {LONGEST_KEY} characters; shorten it"
            )
        if text in self._container:
            raise Unacceptable(_line(event), f"the key {text[:100]!r} is there twice; keep one")
        if len(self._container) >= WIDTH_LIMIT:
            raise Unacceptable(_line(event), f"a mapping has more than {WIDTH_LIMIT} fields; make it smaller")
        self._key = text
        if len(self._outer) <= LINE_DEPTH:
            self.loaded.lines[f"{self._path}.{text}" if self._path else text] = event.start_mark.line

    def _open_mapping(self, event: Any) -> None:
        self._open(event, {})

    def _open_sequence(self, event: Any) -> None:
        self._open(event, [])

    def _open(self, event: Any, container: Any) -> None:
        if event.anchor is not None or event.tag is not None:
            _refuse_properties(event)
        if len(self._outer) >= DEPTH_LIMIT:
            raise Unacceptable(_line(event), f"it is nested more than {DEPTH_LIMIT} deep")
        if type(self._container) is dict and self._key is None:
            raise Unacceptable(_line(event), "a key must be text; quote {{ … }} where a value begins with it")
        path = self._add(event, container)
        self._outer.append((self._container, self._path))
        self._container, self._path = container, path

    def _close(self, _event: Any) -> None:
        self._container, self._path = self._outer.pop()

    def _add(self, event: Any, value: Any) -> str:
        """Put a value where it belongs; return its path, which nothing asks for where it is deep."""
        container = self._container
        if type(container) is dict:
            key, self._key = self._key, None
            container[key] = value
            return f"{self._path}.{key}" if self._path else str(key)
        if container is None:
            self.loaded.data = value
            return ""
        if len(container) >= WIDTH_LIMIT:
            raise Unacceptable(_line(event), f"a list has more than {WIDTH_LIMIT} items; make it smaller")
        container.append(value)
        if len(self._outer) > LINE_DEPTH:
            return ""
        place = f"{self._path}[{len(container) - 1}]"
        self.loaded.lines[place] = event.start_mark.line
        return place

    def _refuse_alias(self, event: Any) -> None:
        raise Unacceptable(_line(event), f"*{event.anchor} is an alias; write the value out")

    def _begin_document(self, event: Any) -> None:
        self.documents += 1
        if self.documents > 1:
            raise Unacceptable(_line(event), "a second YAML document begins; one is needed (remove the ---)")


def _ignore(_event: Any) -> None:
    """Take an event that says nothing."""


def _refuse_properties(event: Any) -> None:
    if event.anchor is not None:
        raise Unacceptable(_line(event), f"&{event.anchor} is an anchor; write the value out where it is needed")
    if event.tag is not None:
        raise Unacceptable(_line(event), f"{event.tag[:100]} is a tag; remove it")


def _resolve(text: str, event: Any) -> Any:
    """Return what a plain scalar means by the core schema of YAML 1.2."""
    if text and text[0] not in _MAYBE_NOT_TEXT:
        return text
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INTEGER.fullmatch(text):
        return int(_bounded(text, event))
    if _BASED.fullmatch(text):
        return int(_bounded(text, event), 0)
    if _FLOAT.fullmatch(text):
        number = float(_bounded(text, event))
        if math.isfinite(number):
            return number
        raise Unacceptable(_line(event), f"{text} is too large a number")
    if _NO_NUMBER.fullmatch(text):
        raise Unacceptable(_line(event), f"{text} is no number that a VirtualService can hold; quote it if it is text")
    return text


def _bounded(text: str, event: Any) -> str:
    if len(text) > _LONGEST_NUMBER:
        raise Unacceptable(_line(event), f"{text[:20]}… is too long for a number; quote it if it is text")
    return text


def _line(event: Any) -> int:
    mark = event.start_mark
    return mark.line if mark is not None else 0
