"""Messages between the operator and the worker: a length of four bytes, then JSON. Lengths are bounded on both sides."""

import json
import os
from typing import Any, Final

MESSAGE_LIMIT: Final = 8 * 1024 * 1024
ANSWER_LIMIT: Final = 2 * 1024 * 1024
HEADER: Final = 4
_encode: Final = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


class Broken(Exception):  # noqa: N818 - it says what happened
    """The other side has ended, or sends what is no message."""


def pack(message: Any) -> bytes:
    """Return a message as bytes."""
    body = _encode(message).encode()
    return len(body).to_bytes(HEADER, "big") + body


def read_message(descriptor: int) -> Any:
    """Return the next message; wait for it. Errors: `Broken` at the end, or where it is too long."""
    size = int.from_bytes(_read(descriptor, HEADER), "big")
    if size > MESSAGE_LIMIT:
        raise Broken(f"a message of {size} bytes")
    return json.loads(_read(descriptor, size))


def write_all(descriptor: int, data: bytes) -> None:
    """Write everything."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _read(descriptor: int, size: int) -> bytes:
    parts = []
    while size:
        part = os.read(descriptor, min(size, 1 << 20))
        if not part:
            raise Broken("the end of the stream")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
