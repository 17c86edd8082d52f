"""
What an error of the API server asks for: one table, by reason, never by class of status.

    ApiError              the server answered and said no
    ConnectionLost        no answer, or half of one
      NoAnswer            the connection stands, and nothing came in time: something on the way takes too long
    NotLeader             not sent, or broken off: another replica may lead by now
    ConfigurationError    no usable kubeconfig: the one error that ends the program at once

Observed on kube-apiserver 1.36; the table is tested row by row, and its rows that can be had on a real one are.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Any, Final

from virtualservice_operator.api import names
from virtualservice_operator.api.conditions import Reason

QUOTED_LIMIT: Final = 200


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before the next try, in seconds: from `first`, doubled, at most `cap`."""

    first: float
    cap: float

    def delay(self, tries: int, share: float) -> float:
        """Return the wait after some tries; `share`, from 0 to 1, is the jitter: of each wait up to a fifth is taken."""
        full: float = min(self.first * 2 ** min(tries, 16), self.cap)
        return full * (1 - share / 5)


class Reaction(Enum):
    """What to do about an error."""

    RETRY = "retry"
    REPLAN = "replan"
    DROP = "drop"
    FORBIDDEN = "forbidden"
    DENIED = "denied"
    REFUSED = "refused"
    NOT_INSTALLED = "not installed"


class Blame(Enum):
    """
    Whose trouble an error is: it says whom a circuit breaker may hold back for it.

    OBJECT: this object's alone. WAY: of every request of this kind to this namespace. SERVER: of every request.
    """

    OBJECT = "object"
    WAY = "way"
    SERVER = "server"


class Situation(StrEnum):
    """What an error is called in metrics and traces."""

    NAMESPACE_TERMINATING = "NamespaceTerminating"
    NAMESPACE_MISSING = "NamespaceMissing"
    WEBHOOK_FAILED = "WebhookFailed"
    QUOTA_EXCEEDED = "QuotaExceeded"
    ADMISSION_DENIED = "AdmissionDenied"
    SCHEMA_MISMATCH = "SchemaMismatch"
    TOO_LARGE = "TooLarge"
    FORBIDDEN = "Forbidden"
    OBJECT_MISSING = "ObjectMissing"
    KIND_MISSING = "KindMissing"
    FIELD_CONFLICT = "FieldConflict"
    CONFLICT = "Conflict"
    REPLACED = "Replaced"
    INVALID = "Invalid"
    EXPIRED = "Expired"
    OVERLOAD = "Overload"
    UNAUTHORIZED = "Unauthorized"
    FUTURE_VERSION = "FutureVersion"
    UNAVAILABLE = "Unavailable"
    SERVER_ERROR = "ServerError"
    NO_ANSWER = "NoAnswer"
    STORED_OTHERWISE = "StoredOtherwise"
    UNREACHABLE = "Unreachable"
    NOT_LEADER = "NotLeader"
    FENCED = "Fenced"


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    What an error asks for.

    `backoff` is None where only a change of the objects helps; `says` is what the status says meanwhile, None where the
    next plan will know better.
    """

    situation: Situation
    reaction: Reaction
    backoff: Backoff | None
    says: Reason | None
    blame: Blame = Blame.OBJECT


# A bug of ours, or an object that is not stored as it was sent: nothing changes by itself.
RARELY: Final = Backoff(300, 300)


class KubeError(Exception):
    """Something between us and the API server went wrong."""


class ConfigurationError(KubeError):
    """There is no cluster to talk to, by what we were told."""


class ConnectionLost(KubeError):  # noqa: N818 - it says what happened
    """The API server did not answer, or broke off in the middle."""


class NoAnswer(ConnectionLost):
    """The API server took the request and did not answer in time: a webhook may be slow, or the server itself."""


class NotLeader(KubeError):  # noqa: N818 - it says what happened
    """This replica may not write: the next plan, if it leads again, will know what is left to do."""


class StoredOtherwise(KubeError):  # noqa: N818 - it says what happened
    """The API server took the request and stored something else."""


class HeldBack(KubeError):  # noqa: N818 - it says what happened
    """
    We have not asked, as others before us failed.

    `verdict` is what they got, `retry_after` when to come back.
    """

    def __init__(self, message: str, verdict: "Verdict", retry_after: float) -> None:
        super().__init__(message)
        self.verdict = verdict
        self.retry_after = retry_after


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


def judge(error: KubeError) -> Verdict:
    """Return what an error asks for: the first row of the table that applies."""
    if isinstance(error, HeldBack):
        return error.verdict
    return next(verdict for applies, verdict in _TABLE if applies(error))


def classify(error: KubeError) -> Reaction:
    """Return how to react to an error of a write."""
    return judge(error).reaction


def asked_wait(error: KubeError) -> float | None:
    """Return for how many seconds the API server, or we ourselves, asked to wait; None where nobody did."""
    return error.retry_after if isinstance(error, (ApiError, HeldBack)) else None


def must_wait(error: KubeError) -> bool:
    """Tell whether a wait is not to be cut short when others get through: it was asked for, or the object is refused."""
    if isinstance(error, HeldBack):
        return False
    verdict = judge(error)
    is_refused = verdict.reaction is Reaction.DENIED and verdict.blame is Blame.OBJECT
    return is_refused or asked_wait(error) is not None


Test = Callable[[KubeError], bool]


def _answers(*statuses: int, reason: str | None = None) -> Test:
    """Tell an answer with one of these statuses, and with a reason if one is given."""
    return lambda e: isinstance(e, ApiError) and e.status in statuses and reason in (None, e.reason)


def _caused(cause: str) -> Test:
    """Tell an answer by a cause in its details."""
    return lambda e: isinstance(e, ApiError) and cause in e.causes


def _mentions(*texts: str, among: tuple[int, ...] = ()) -> Test:
    """Tell an answer by its words, where nothing else says it; `among` are the statuses it comes with, if that helps."""
    return lambda e: (
        isinstance(e, ApiError) and any(text in e.message for text in texts) and (not among or e.status in among)
    )


# A create over an existing object, an update of another uid, a JSON patch whose `test` failed: the world has moved.
_MOVED: Final = (
    "metadata.resourceVersion",
    "metadata.uid",
    "the server rejected our request due to an error in our request",
)
_NO_NAMESPACE: Final = _mentions('namespaces "', among=(404,))
_S, _R, _B = Situation, Reaction, Blame

# In order; the first row that applies wins, and the last but one takes every other answer. Tests, and what to call it,
# how to react, how soon again, what the status says meanwhile, whose trouble it is.
_TABLE: Final[tuple[tuple[Test, Verdict], ...]] = (
    (_caused("NamespaceTerminating"), Verdict(_S.NAMESPACE_TERMINATING, _R.DROP, None, None)),
    (_NO_NAMESPACE, Verdict(_S.NAMESPACE_MISSING, _R.DROP, None, None)),
    (
        _mentions("failed calling webhook", "failed calling validating webhook", "failed calling mutating webhook"),
        Verdict(_S.WEBHOOK_FAILED, _R.RETRY, Backoff(1, 30), Reason.ADMISSION_REJECTED, _B.WAY),
    ),
    (
        _mentions("exceeded quota", among=(403,)),
        Verdict(_S.QUOTA_EXCEEDED, _R.DENIED, Backoff(5, 300), Reason.ADMISSION_REJECTED, _B.WAY),
    ),
    # Either we lead no more and shall hear of it, or we do and the API server has not heard of it yet.
    (_mentions(names.FENCE), Verdict(_S.FENCED, _R.REPLAN, Backoff(0.05, 5), None)),
    (
        _mentions("ValidatingAdmissionPolicy", "admission webhook"),
        Verdict(_S.ADMISSION_DENIED, _R.DENIED, Backoff(5, 300), Reason.ADMISSION_REJECTED),
    ),
    (
        _mentions("failed to create typed patch object", among=(500,)),
        Verdict(_S.SCHEMA_MISMATCH, _R.REFUSED, RARELY, Reason.APPLY_FAILED),
    ),
    (
        _mentions("request is too large", "trying to send message larger than max", among=(500,)),
        Verdict(_S.TOO_LARGE, _R.REFUSED, RARELY, Reason.APPLY_FAILED),
    ),
    (_answers(413), Verdict(_S.TOO_LARGE, _R.REFUSED, RARELY, Reason.APPLY_FAILED)),
    (_answers(403), Verdict(_S.FORBIDDEN, _R.FORBIDDEN, Backoff(2, 60), Reason.FORBIDDEN, _B.WAY)),
    (_answers(404, reason="NotFound"), Verdict(_S.OBJECT_MISSING, _R.REPLAN, Backoff(0.05, 5), None)),
    (_answers(404), Verdict(_S.KIND_MISSING, _R.NOT_INSTALLED, Backoff(1, 30), Reason.ISTIO_NOT_INSTALLED)),
    (
        _caused("FieldManagerConflict"),
        Verdict(_S.FIELD_CONFLICT, _R.REFUSED, Backoff(5, 300), Reason.APPLY_FAILED),
    ),
    (_answers(409), Verdict(_S.CONFLICT, _R.REPLAN, Backoff(0.05, 5), None)),
    (_mentions(*_MOVED, among=(422,)), Verdict(_S.REPLACED, _R.REPLAN, Backoff(0.05, 5), None)),
    (_answers(400, 415, 422), Verdict(_S.INVALID, _R.REFUSED, RARELY, Reason.APPLY_FAILED)),
    (_answers(410), Verdict(_S.EXPIRED, _R.REPLAN, Backoff(0.05, 5), None)),
    (_answers(429), Verdict(_S.OVERLOAD, _R.RETRY, Backoff(1, 30), Reason.APPLY_FAILED, _B.SERVER)),
    (_answers(401), Verdict(_S.UNAUTHORIZED, _R.RETRY, Backoff(0.5, 10), Reason.APPLY_FAILED, _B.SERVER)),
    (_caused("ResourceVersionTooLarge"), Verdict(_S.FUTURE_VERSION, _R.RETRY, Backoff(1, 30), Reason.APPLY_FAILED)),
    (_answers(502, 503), Verdict(_S.UNAVAILABLE, _R.RETRY, Backoff(0.5, 5), Reason.APPLY_FAILED, _B.SERVER)),
    (lambda e: isinstance(e, NotLeader), Verdict(_S.NOT_LEADER, _R.REPLAN, Backoff(0.05, 5), None)),
    (
        lambda e: isinstance(e, StoredOtherwise),
        Verdict(_S.STORED_OTHERWISE, _R.REFUSED, RARELY, Reason.APPLY_FAILED),
    ),
    (
        lambda e: isinstance(e, NoAnswer),
        Verdict(_S.NO_ANSWER, _R.RETRY, Backoff(0.5, 30), Reason.APPLY_FAILED, _B.WAY),
    ),
    (
        lambda e: isinstance(e, ApiError),
        Verdict(_S.SERVER_ERROR, _R.RETRY, Backoff(0.5, 30), Reason.APPLY_FAILED, _B.WAY),
    ),
    (lambda _: True, Verdict(_S.UNREACHABLE, _R.RETRY, Backoff(0.5, 2), Reason.APPLY_FAILED, _B.SERVER)),
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
