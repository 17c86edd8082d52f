r"""
Values from the cluster stay data: what is printed is marked, and after parsing must be where it was, unchanged.

    host: "{{ ServiceName }}-x"       <mark 0>reviews<end>-x     one scalar, equal: fine
    note: {{ ServiceAnnotations.a }}  a = "x, evil: y"           the mapping's next key is in between: refused
    # {{ ServiceAnnotations.a }}      a = "x\nevil: y\n#"          both ends are in comments: no scalar has it, refused
    a: '{{ x | tojson }}'             "<mark 0>b', c: 'd<end>"   JSON in the wrong quotes: marks are inside its own

So a newline, a quote or a colon in an annotation can change nothing but the text it stands in, and where it cannot
stand there as it is, the author reads how to write it. A scalar with a mark in it is text, whatever it looks like.
"""

import json
import re
from collections import Counter
from typing import Final

from virtualservice_operator.templates import guard
from virtualservice_operator.templates.guard import Loaded, Unacceptable
from virtualservice_operator.templates.values import Finished, Refused

_START, _TEXT, _END = "\ue000", "\ue001", "\ue002"
_ANY: Final = re.compile("[\ue000-\ue002]")
_REGION: Final = re.compile("\ue000([0-9]+)\ue001([^\ue000-\ue002]*)\ue002")
_OPENING_OR_END: Final = re.compile("\ue000[0-9]+\ue001|\ue002")
# What ends a comment.
_LINE_BREAK: Final = re.compile("[\r\n\x85\u2028\u2029]")
# Between the quotes of JSON such text is the same in every context of YAML, so that it needs no mark there.
_CALM: Final = re.compile(r"[A-Za-z0-9./_-]*")
_CALM_JSON: Final = re.compile(r'(?:[^"]++|"[A-Za-z0-9./_-]*+")*+')
_JSON_TEXT: Final = re.compile(r'"((?:[^"\\]|\\.)*+)"')
_REMEDY: Final = (
    "a value from the cluster does not stay as it is here; write {{ … | tojson }}, without quotes around it, for the "
    "whole value: {{ (A ~ B) | tojson }}"
)
_REMEDY_OF_COMMENT: Final = (
    "a value from the cluster goes on after the comment that it stands in; write {# … #} for what is to be left out"
)


def refuse_marks(text: str) -> str:
    """Return text that is about to be parsed or printed; our marks must not be in it yet."""
    if not text.isascii() and _ANY.search(text):
        raise Refused("the characters U+E000 to U+E002 are reserved; take them out")
    return text


def finish(marked: str) -> Finished:
    """Return what was printed as a value: its text, and what is printed for it."""
    return Finished(marked if marked.isascii() else _OPENING_OR_END.sub("", marked), marked)


class Marks:
    """
    The values of one rendering, by number.

    `is_strict`: mark calm texts of JSON too, because what is printed may be edited before it is parsed.
    """

    __slots__ = ("_is_strict", "_seen", "_values")

    def __init__(self, *, is_strict: bool = False) -> None:
        self._is_strict = is_strict
        self._values: list[str] = []
        self._seen: list[int] = []

    def wrap(self, text: str) -> str:
        """Return a value as it is printed."""
        refuse_marks(text)
        self._values.append(text)
        return f"{_START}{len(self._values) - 1}{_TEXT}{text}{_END}"

    def wrap_json(self, text: str) -> Finished:
        """Return JSON with its texts marked, between their quotes."""
        if not self._is_strict and _CALM_JSON.fullmatch(text):
            return Finished(text)
        return Finished(text, _JSON_TEXT.sub(self._wrap_text, text))

    def load(self, text: str) -> Loaded:
        """Return the one document of what was printed. Errors: `Unacceptable`."""
        self._seen.clear()
        try:
            loaded = guard.load(text, self._inspect)
        except Unacceptable as error:
            raise Unacceptable(error.line, self._plain(error), is_syntax=error.is_syntax) from None
        if text.count(_START) != len(self._seen):
            self._check_unseen(text)
        return loaded

    def _wrap_text(self, found: re.Match[str]) -> str:
        text = found[1]
        if not self._is_strict and _CALM.fullmatch(text):
            return found[0]
        self._values.append(json.loads(found[0]) if "\\" in text else text)
        return f'"{_START}{len(self._values) - 1}{_TEXT}{text}{_END}"'

    def _inspect(self, text: str, plain: bool, line: int) -> tuple[str, bool]:  # noqa: ARG002, FBT001 - the guard's Inspector
        """Return a scalar without marks, and whether it must stay text: `null` in a label is no null."""
        shown, *marked = text.split(_START)
        for part in marked:
            number, _, rest = part.partition(_TEXT)
            value, end, after = rest.partition(_END)
            if not end or not number.isdecimal() or self._value(int(number)) != value:
                raise Unacceptable(line, _REMEDY)
            self._seen.append(int(number))
            shown += value + after
        if _ANY.search(shown):
            raise Unacceptable(line, _REMEDY)
        return shown, bool(marked)

    def _value(self, number: int) -> str | None:
        return self._values[number] if number < len(self._values) else None

    def _check_unseen(self, text: str) -> None:
        """Refuse a value that is in no scalar, and not within one line of a comment either."""
        seen, count = Counter(self._seen), 0
        for found in _REGION.finditer(text):
            count += 1
            number = int(found[1])
            seen[number] -= 1
            if seen[number] < 0 and _LINE_BREAK.search(found[2]):
                raise Unacceptable(text.count("\n", 0, found.start()), _REMEDY_OF_COMMENT)
        if count != text.count(_START):
            raise Unacceptable(0, _REMEDY)

    def _plain(self, error: Unacceptable) -> str:
        """Return what is wrong without marks in it; of text that is no YAML with the likely reason."""
        plain = _ANY.sub("", _OPENING_OR_END.sub("", error.message))
        if error.is_syntax and not all(_CALM.fullmatch(value) for value in self._values):
            return f"{plain}; or {_REMEDY}"
        return plain
