"""The four simple variables: plain substitution, no template engine."""

import re
from collections.abc import Callable, Mapping
from typing import Final

NAMES: Final = ("ServiceName", "ServiceNamespace", "DeveloperName", "DeveloperNamespace")
# Without a choice of where anything ends: `\s*(.*?)\s*` takes seconds on a text of many spaces that anybody may write.
_VARIABLE: Final = re.compile(r"\{\{([^{}]*)\}\}")


def unknown_variables(text: str) -> list[str]:
    """Return what stands in double braces and is none of the four, in order of appearance."""
    return [name.strip() for name in _VARIABLE.findall(text) if name.strip() not in NAMES]


def substitute(text: str, values: Mapping[str, str], escape: Callable[[str], str] = str) -> str:
    """Return the text with each variable that `values` has replaced by its escaped value; others stay."""

    def value(found: re.Match[str]) -> str:
        name = found.group(1).strip()
        return escape(values[name]) if name in values else found.group(0)

    return _VARIABLE.sub(value, text)
