"""How much is said: few of many, and what fits. The bounds are the reader's first, then those of the stored object."""

import json
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, Final

MESSAGE_LIMIT: Final = 1024
_SHOWN: Final = 3
_BYTES_PER_CHARACTER: Final = 2
# Go's JSON, which the API server stores, writes these as six bytes each, for the sake of HTML.
_ESCAPED: Final = "<>&\u2028\u2029"
_ESCAPED_SIZE: Final = 6


def list_few(found: Sequence[str]) -> str:
    """Return the first three names, and how many more there are."""
    more = len(found) - _SHOWN
    return ", ".join(found[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def say_few(messages: Sequence[str]) -> str:
    """Return the first three messages, and how many more there are."""
    more = len(messages) - _SHOWN
    text = "; ".join(messages[:_SHOWN])
    return cut(f"{text}; and {more} more" if more > 0 else text)


def cut(text: str, limit: int = MESSAGE_LIMIT) -> str:
    """
    Return at most so many characters, without half a word: half of a command's last word does harm.

    They are fewer where they take more than twice as many bytes in the stored object.
    """
    room = limit * _BYTES_PER_CHARACTER + stored_size("")
    if len(text) <= limit and stored_size(text) <= room:
        return text
    lengths = range(min(len(text), limit))
    fits = bisect_right(lengths, room, key=lambda length: stored_size(text[:length] + "…"))
    kept = text[: lengths[fits - 1]]
    return (kept.rpartition(" ")[0] or kept) + "…"


def stored_size(value: Any) -> int:
    """Return how many bytes a value takes as JSON in the API server's store."""
    return stored_length(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def stored_length(text: str) -> int:
    """Return how many bytes a value takes there that is JSON already, without spaces and escapes that need not be."""
    escaped = sum(text.count(character) * (_ESCAPED_SIZE - len(character.encode())) for character in _ESCAPED)
    return len(text.encode(errors="replace")) + escaped
