"""From what YAML holds to a spec, and what is wrong with it in words for a person: field, value, limit."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from pydantic import ValidationError

from virtualservice_operator.api.v1alpha1.rules import BROKEN, UNRULED
from virtualservice_operator.api.v1alpha1.spec import RoutingPolicySpec

_SHOWN: Final = 80
_KEY: Final = "[key]"
_IN_OTHER_WORDS: Final = {
    "extra_forbidden": "there is no such field; remove it, or see vso crd for those that there are",
    "missing": "it is missing; add it",
}


def read_spec(raw: Any) -> tuple[RoutingPolicySpec | None, tuple[str, ...]]:
    """
    Return a spec and everything that is wrong with it.

    A spec that breaks rules only can be read all the same: what it selects and keeps still tells what must not be touched.
    Where it does not fit the schema there is none.
    """
    try:
        return RoutingPolicySpec.model_validate(raw), ()
    except ValidationError as error:
        found = tuple(_told_once(error.errors(include_url=False)))
    spec = None
    if all(item["type"] == BROKEN for item in found):
        try:
            spec = RoutingPolicySpec.model_validate(raw, context=UNRULED)
        except ValidationError as error:  # what is looked at only where every part is right by itself
            found += tuple(_told_once(error.errors(include_url=False)))
    return spec, tuple(_problem(item) for item in found)


def _told_once(found: Sequence[Any]) -> Iterator[Any]:
    """Yield what is wrong. Pydantic counts only what is good: a list whose one entry is wrong it calls too short as well."""
    for item in found:
        if item["type"] != "too_short" or not any(_is_within(other["loc"], item["loc"]) for other in found):
            yield item


def _is_within(place: Sequence[Any], other: Sequence[Any]) -> bool:
    return len(place) > len(other) and tuple(place[: len(other)]) == tuple(other)


def _problem(item: Any) -> str:
    place, value = item["loc"], item["input"]
    if place and place[-1] == _KEY:
        *place, value, _ = place
    said = _IN_OTHER_WORDS.get(item["type"])
    if said is None:
        shown = f"{value!r:.{_SHOWN}}: " if isinstance(value, str | int | float) else ""
        said = shown + item["msg"].removeprefix("Value error, ")
    return f"{_path(place)}: {said}"


def _path(parts: Sequence[str | int]) -> str:
    return "spec" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
