"""Text from outside as people may see it: on terminals, in the status, in Events and logs."""

import json
from typing import Any, Final

QUOTED_LIMIT: Final = 200


def printable(text: str, limit: int = QUOTED_LIMIT) -> str:
    """Cut text from outside, and show control characters as escapes: findings are read on terminals."""
    cut = text[: limit + 1]
    shown = cut if cut.isprintable() else "".join(map(_escape, cut))
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def shown(value: Any, limit: int) -> str:
    """Return a value from outside as JSON that is cut and has no control characters."""
    return printable(json.dumps(value, ensure_ascii=False), limit)


def _escape(char: str) -> str:
    return char if char.isprintable() else char.encode("unicode_escape").decode()
