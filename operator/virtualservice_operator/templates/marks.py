"""
Values from the cluster stay data: what is printed is marked, and after parsing must be where it was, unchanged.

    host: "{{ ServiceName }}-x"       <mark 0>reviews<end>-x     one scalar, equal: fine
    note: {{ ServiceAnnotations.a }}  a = "x, evil: y"           the mapping's next key is in between: refused

So a newline, a quote or a colon in an annotation can change nothing but the text it stands in, and where it cannot
stand there as it is, the author reads how to write it.
"""

import re
from typing import Final

from virtualservice_operator.templates.guard import Unacceptable
from virtualservice_operator.templates.values import Refused

_START, _TEXT, _END = "\ue000", "\ue001", "\ue002"
_ANY: Final = re.compile("[\ue000-\ue002]")
_REGION: Final = re.compile("\ue000([0-9]+)\ue001([^\ue000-\ue002]*)\ue002")
# Such text is the same in every context of YAML, so that it needs no mark.
_CALM: Final = re.compile(r"[A-Za-z][A-Za-z0-9./_-]*")
_NOT_TEXT: Final = frozenset(("null", "true", "false"))
_REMEDY: Final = (
    "a value from the cluster does not stay as it is here; write {{ … | tojson }}, without quotes around it, for the "
    "whole value: {{ (A ~ B) | tojson }}"
)


def refuse_marks(text: str) -> str:
    """Return text that is about to be parsed or printed; our marks must not be in it yet."""
    if not text.isascii() and _ANY.search(text):
        raise Refused("the characters U+E000 to U+E002 are reserved; take them out")
    return text


class Marks:
    """The values of one rendering, by number."""

    __slots__ = ("_values",)

    def __init__(self) -> None:
        self._values: list[str] = []

    def wrap(self, text: str) -> str:
        """Return a value as it is printed."""
        if _CALM.fullmatch(text) and text.lower() not in _NOT_TEXT:
            return text
        refuse_marks(text)
        self._values.append(text)
        return f"{_START}{len(self._values) - 1}{_TEXT}{text}{_END}"

    def inspect(self, text: str, plain: bool, line: int) -> tuple[str, bool]:  # noqa: ARG002, FBT001 - the guard's Inspector
        """Return a scalar without marks, and whether it must stay text: `null` in a label is no null."""
        if not _ANY.search(text):
            return text, False

        def unwrap(found: re.Match[str]) -> str:
            number = int(found[1])
            if number >= len(self._values) or self._values[number] != found[2]:
                raise Unacceptable(line, _REMEDY)
            return found[2]

        shown = _REGION.sub(unwrap, text)
        if _ANY.search(shown):
            raise Unacceptable(line, _REMEDY)
        return shown, True

    def hint(self, message: str) -> str:
        """Return a message about text that is no YAML, with the likely reason where values were marked."""
        plain = _REGION.sub(r"\2", message)
        return f"{_ANY.sub('', plain)}; or {_REMEDY}" if self._values else plain
