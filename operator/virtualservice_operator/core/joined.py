"""What a template with `renderPer: Developer` comes to: the rules of all developers, put together in one VirtualService."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from virtualservice_operator.core.renderings import (
    NOBODIES,
    WRITTEN,
    Count,
    Made,
    TemplateFails,
    rule_text,
    rules_in,
)
from virtualservice_operator.core.routes import Rule, is_selective
from virtualservice_operator.core.template import VIRTUAL_SERVICE, Render, Rendered
from virtualservice_operator.core.wording import stored_length
from virtualservice_operator.printable import shown

_QUOTED: Final = 80


def join_for(made: Iterator[Made], developers: Sequence[str]) -> "Joined":
    """Return what the renderings for these developers come to, in their order. Errors: `TemplateFails`."""
    joined = Joined(next(made), developers)
    for item in made:
        joined.add(item)
    return joined


def join_for_nobody(made: Made, other: Made) -> "Joined":
    """Return the rules that are equal for two who are not there, so that none is about a developer. Errors: `TemplateFails`."""
    for path, ours, theirs in _outside_http(made.rendered.document, other.rendered.document):
        if ours != theirs:
            raise TemplateFails(
                f"{made.rendered.place(path)}: {path} depends on the developer; with renderPer: Developer only the rules of http "
                "may"
            )
    joined = Joined(made, NOBODIES, only=frozenset(map(rule_text, rules_in(other.rendered.document))))
    if not joined.rules:
        raise TemplateFails(
            "template virtualService: where nobody has a copy no rule is left; end with a rule without match that leads to "
            "{{ ServiceFQDN }}"
        )
    return joined


class Joined:
    """
    The rules with a match, one developer's after the other's, then those that take every request of a port.

    Equal rules are written once. Catch-alls that differ would hide each other. `first` says all but the rules.
    """

    def __init__(self, first: Made, developers: Sequence[str], only: frozenset[str] | None = None) -> None:
        self.first = first
        self._developers = developers
        self._count = Count(VIRTUAL_SERVICE, len(developers), WRITTEN)
        self._taken = 0
        self._known: set[str] = set()
        self._selective: list[tuple[Rule, Render, int]] = []
        self._catching: list[tuple[Rule, Render, int]] = []
        self._take(first, only)

    @property
    def rules(self) -> Sequence[tuple[Rule, Render, int]]:
        """Return the rules, each with the rendering that it comes from and its place there."""
        return (*self._selective, *self._catching)

    def add(self, made: Made) -> None:
        """Take the next developer's rules."""
        _require_equal(self.first.rendered, made.rendered, self._developers[0], self._developers[self._taken])
        self._take(made)

    def _take(self, made: Made, only: frozenset[str] | None = None) -> None:
        for index, rule in enumerate(rules_in(made.rendered.document)):
            text = rule_text(rule)
            if text not in self._known and (only is None or text in only):
                self._known.add(text)
                self._count.add(stored_length(text))
                self._place(made, index, rule)
        self._taken += 1

    def _place(self, made: Made, index: int, rule: Rule) -> None:
        if is_selective(rule):
            self._selective.append((rule, made.render, index))
        elif not self._taken:
            self._catching.append((rule, made.render, index))
        else:
            raise TemplateFails(
                f"{made.rendered.place(f'spec.http[{index}]')}: spec.http[{index}] takes every request of a port and differs "
                f"between {self._developers[0]} and {self._developers[self._taken]}; give it a match, or make it equal for all"
            )


def _require_equal(first: Rendered, other: Rendered, one: str, another: str) -> None:
    """Refuse templates that say something different for each developer outside http: there is one VirtualService."""
    for path, ours, theirs in _outside_http(first.document, other.document):
        if ours != theirs:
            raise TemplateFails(
                f"{first.place(path)}: {path} is {shown(ours, _QUOTED)} for {one} and {shown(theirs, _QUOTED)} for {another}; with "
                "renderPer: Developer only the rules of http may differ"
            )


def _outside_http(first: Any, other: Any) -> Iterator[tuple[str, Any, Any]]:
    specs = (first["spec"], other["spec"])
    for key in sorted({*first, *other} - {"spec"}):
        yield key, first.get(key), other.get(key)
    for key in sorted({*specs[0], *specs[1]} - {"http"}):
        yield f"spec.{key}", specs[0].get(key), specs[1].get(key)
