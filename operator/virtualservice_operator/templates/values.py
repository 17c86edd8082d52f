"""
What an expression of a template can be: plain data of bounded size, and three kinds of text.

    str        from the cluster: printed with marks, so that it stays data wherever it is put (marks.py)
    Literal    written by the template's author
    Finished   YAML already: what `tojson` and `super()` return, and what `set` … `endset` holds

Whatever comes out of an operation passes through `Budget.settle`: so no value is ever larger than these limits, and
each costs fuel in proportion to its size. Fuel is counted, not timed: the verdict is the same on every machine.
"""

import math
from typing import Any, Final, Self

FUEL: Final = 100_000
OUTPUT_LIMIT: Final = 256 * 1024
TEXT_LIMIT: Final = 256 * 1024
NODE_LIMIT: Final = 20_000
MESSAGE_LIMIT: Final = 600
INTEGER_LIMIT: Final = 2**63
_SCALARS: Final = (bool, type(None))


class Refused(Exception):  # noqa: N818 - it says what happened
    """Something that a template may not do, in words for its author."""


class Literal(str):
    """Text that the template's author wrote."""

    __slots__ = ()


class Finished(str):
    """Text that is YAML already; `marked` is how it is printed, with marks around the values in it."""

    __slots__ = ("marked",)
    marked: str

    def __new__(cls, text: str, marked: str | None = None) -> Self:
        """Make one; without `marked` there are no values in it."""
        made = super().__new__(cls, text)
        made.marked = text if marked is None else marked
        return made


TEXTS: Final = (str, Literal, Finished)


class Budget:
    """What one rendering may use up: fuel, and characters of output."""

    __slots__ = ("fuel", "output")

    def __init__(self) -> None:
        self.fuel = FUEL
        self.output = OUTPUT_LIMIT

    def spend(self, units: int) -> None:
        """Take some fuel; none is ever given back."""
        self.fuel -= units
        if self.fuel < 0 or units < 0:
            raise Refused(f"the template takes more than {FUEL} steps; use fewer or shorter loops")

    def write(self, size: int, depth: int) -> None:
        """Take room in the output; through each include and block around it takes a sixteenth of a step."""
        self.output -= size
        if self.output < 0:
            raise Refused(f"the output is longer than {OUTPUT_LIMIT} characters; write less")
        self.spend((size >> 6) + (depth >> 4))

    def settle(self, value: Any) -> Any:
        """Return a value if it is plain data within the limits; it costs fuel by its size."""
        kind = type(value)
        if kind in TEXTS:
            self._spend_text(value)
        elif kind is int:
            if not -INTEGER_LIMIT < value < INTEGER_LIMIT:
                raise Refused("a number is larger than 64 bits")
        elif kind is float:
            if not math.isfinite(value):
                raise Refused("a number is infinite, or none")
        elif kind is list or kind is dict:
            self._walk(value)
        elif kind not in _SCALARS:
            raise Refused(f"{kind.__name__} is no plain data; use text, numbers, lists and mappings")
        return value

    def _spend_text(self, value: str) -> None:
        size = len(value)
        if size > TEXT_LIMIT:
            raise Refused(f"a text is longer than {TEXT_LIMIT} characters")
        self.spend(1 + (size >> 6))

    def _walk(self, value: Any) -> None:
        """Look at every part; a part that is there twice counts twice, so that nothing grows by referring to itself."""
        waiting, seen, size = [value], 0, 0
        while waiting:
            item = waiting.pop()
            kind = type(item)
            seen += 1
            if kind in TEXTS:
                size += len(item)
            elif kind is int:
                if not -INTEGER_LIMIT < item < INTEGER_LIMIT:
                    self.settle(item)
            elif kind is list:
                self._check_count(seen + len(item))
                waiting.extend(item)
            elif kind is dict:
                self._check_count(seen + len(item))
                waiting.extend(item)
                waiting.extend(item.values())
            elif kind not in _SCALARS:
                self.settle(item)
        if size > 2 * TEXT_LIMIT:
            raise Refused(f"a list or mapping holds more than {2 * TEXT_LIMIT} characters")
        self.spend((seen >> 1) + (size >> 6))

    def _check_count(self, seen: int) -> None:
        if seen > NODE_LIMIT:
            raise Refused(f"a list or mapping has more than {NODE_LIMIT} parts")
