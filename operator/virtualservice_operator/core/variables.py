"""The four simple variables: plain substitution, no template engine."""

import re
from collections.abc import Callable, Mapping
from typing import Final

NAMES: Final = ("ServiceName", "ServiceNamespace", "DeveloperName", "DeveloperNamespace")
_VARIABLE: Final = re.compile(r"\{\{\s*(.*?)\s*\}\}")


def unknown_variables(text: str) -> list[str]:
    """Return what stands in double braces and is none of the four, in order of appearance."""
    return [name for name in _VARIABLE.findall(text) if name not in NAMES]


def substitute(text: str, values: Mapping[str, str], escape: Callable[[str], str] = str) -> str:
    """Return the text with each variable that `values` has replaced by its escaped value; others stay."""

    def value(found: re.Match[str]) -> str:
        name = found.group(1)
        return escape(values[name]) if name in values else found.group(0)

    return _VARIABLE.sub(value, text)
