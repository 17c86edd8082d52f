"""
What an error of the API server asks for: one table, by reason, never by class of status.

    ApiError              the server answered and said no
    ConnectionLost        no answer, or half of one
    NotLeader             not sent, or broken off: another replica may lead by now
    ConfigurationError    no usable kubeconfig: the one error that ends the program at once

Observed on kube-apiserver 1.36; the table is tested row by row.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus
from typing import Any, Final

from virtualservice_operator.api import names
from virtualservice_operator.api.conditions import Reason

QUOTED_LIMIT: Final = 200


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before the next try, in seconds: from `first`, doubled, at most `cap`."""

    first: float
    cap: float


class Reaction(Enum):
    """What to do about an error; `BACKOFFS` says how soon to try again, `REASONS` what status says meanwhile."""

    RETRY = "retry"
    REPLAN = "replan"
    DROP = "drop"
    FORBIDDEN = "forbidden"
    DENIED = "denied"
    REFUSED = "refused"
    NOT_INSTALLED = "not installed"


# A reaction that is not here waits for a change of the objects.
BACKOFFS: Final[Mapping[Reaction, Backoff]] = {
    Reaction.RETRY: Backoff(0.5, 30),
    Reaction.REPLAN: Backoff(0.05, 5),
    Reaction.FORBIDDEN: Backoff(2, 60),
    Reaction.DENIED: Backoff(5, 300),
    Reaction.REFUSED: Backoff(300, 300),
}
# A reaction that is not here says nothing: the next plan will know better.
REASONS: Final[Mapping[Reaction, Reason]] = {
    Reaction.RETRY: Reason.APPLY_FAILED,
    Reaction.FORBIDDEN: Reason.FORBIDDEN,
    Reaction.DENIED: Reason.ADMISSION_REJECTED,
    Reaction.REFUSED: Reason.APPLY_FAILED,
    Reaction.NOT_INSTALLED: Reason.ISTIO_NOT_INSTALLED,
}


class KubeError(Exception):
    """Something between us and the API server went wrong."""


class ConfigurationError(KubeError):
    """There is no cluster to talk to, by what we were told."""


class ConnectionLost(KubeError):  # noqa: N818 - it says what happened
    """The API server did not answer, or broke off in the middle."""


class NotLeader(KubeError):  # noqa: N818 - it says what happened
    """This replica may not write: the next plan, if it leads again, will know what is left to do."""


class ApiError(KubeError):
    """The API server said no. `causes` are the reasons in the Status object's details; `message` is as it came."""

    def __init__(
        self, status: int, reason: str, message: str, *, causes: tuple[str, ...] = (), retry_after: float | None = None
    ) -> None:
        super().__init__(f"{status} {reason or 'without reason'}: {printable(message)}")
        self.status = status
        self.reason = reason
        self.message = message
        self.causes = causes
        self.retry_after = retry_after

    @classmethod
    def from_response(cls, status: int, body: Any, text: str, headers: Mapping[str, str]) -> "ApiError":
        """Return the error of a response; overload and a missing kind answer in plain text, not with a Status."""
        stated = body if isinstance(body, Mapping) and body.get("kind") == "Status" else {}
        details = stated.get("details") or {}
        after = headers.get("Retry-After", "")
        return cls(
            status,
            stated.get("reason", "") or "",
            stated.get("message") or text.strip(),
            causes=tuple(cause.get("reason", "") for cause in details.get("causes") or ()),
            retry_after=float(after) if after.isdigit() else details.get("retryAfterSeconds"),
        )


def classify(error: KubeError) -> Reaction:
    """Return how to react to an error of a write."""
    if isinstance(error, NotLeader):
        return Reaction.REPLAN
    if not isinstance(error, ApiError):
        return Reaction.RETRY
    return next((reaction for applies, reaction in _TABLE if applies(error)), Reaction.RETRY)


_PERMANENT_TEXTS: Final = ("failed to create typed patch object", "request is too large")
_ADMISSION_TEXTS: Final = ("ValidatingAdmissionPolicy", "admission webhook", "exceeded quota")

# A create over an existing object, an update of another uid, a JSON patch whose `test` failed: the world has moved.
_STALE_TEXTS: Final = (
    "metadata.resourceVersion",
    "metadata.uid",
    "the server rejected our request due to an error in our request",
)


def _mentions(error: ApiError, texts: tuple[str, ...]) -> bool:
    return any(text in error.message for text in texts)


# In order; the first row that applies wins.
_TABLE: Final[tuple[tuple[Callable[[ApiError], bool], Reaction], ...]] = (
    (lambda e: "NamespaceTerminating" in e.causes, Reaction.DROP),
    # Either we lead no more and shall hear of it, or we do and the API server has not heard of it yet.
    (lambda e: _mentions(e, (names.FENCE,)), Reaction.REPLAN),
    (lambda e: _mentions(e, _ADMISSION_TEXTS), Reaction.DENIED),
    (lambda e: _mentions(e, _PERMANENT_TEXTS), Reaction.REFUSED),
    (lambda e: e.status == HTTPStatus.FORBIDDEN, Reaction.FORBIDDEN),
    (
        lambda e: e.status == HTTPStatus.NOT_FOUND and e.reason == "NotFound" and "namespaces " in e.message,
        Reaction.DROP,
    ),
    (lambda e: e.status == HTTPStatus.NOT_FOUND and e.reason == "NotFound", Reaction.REPLAN),
    (lambda e: e.status == HTTPStatus.NOT_FOUND, Reaction.NOT_INSTALLED),
    (lambda e: e.status == HTTPStatus.CONFLICT, Reaction.REPLAN),
    (lambda e: e.status == HTTPStatus.UNPROCESSABLE_ENTITY and _mentions(e, _STALE_TEXTS), Reaction.REPLAN),
    (lambda e: e.status in (400, 413, 415, 422), Reaction.REFUSED),
    (lambda e: e.status == HTTPStatus.GONE, Reaction.REPLAN),
)


def printable(text: str) -> str:
    """
    Cut text from outside, and show control characters as escapes: logs and status are read on terminals.

    It is cut in the middle: the API server begins with the object's name and ends with what is wrong.
    """
    shown = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
    if len(shown) <= QUOTED_LIMIT:
        return shown
    return f"{shown[: QUOTED_LIMIT // 4]}…{shown[1 - QUOTED_LIMIT * 3 // 4 :]}"
