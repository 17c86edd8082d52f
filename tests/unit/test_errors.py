import json
from typing import Any, NamedTuple

import pytest

from virtualservice_operator.api.conditions import Reason
from virtualservice_operator.kube.errors import (
    BACKOFFS,
    REASONS,
    ApiError,
    Backoff,
    ConfigurationError,
    ConnectionLost,
    KubeError,
    Reaction,
    classify,
)


class Answer(NamedTuple):
    """What a kube-apiserver 1.36 answered: a Status, or plain text where `reason` is None."""

    status: int
    reason: str | None
    message: str
    cause: str | None = None

    @property
    def error(self) -> ApiError:
        if self.reason is None:
            return ApiError.from_response(self.status, None, self.message + "\n", {})
        body: dict[str, Any] = {"kind": "Status", "code": self.status, "message": self.message}
        if self.reason:
            body["reason"] = self.reason
        if self.cause is not None:
            body["details"] = {"causes": [{"reason": self.cause}]}
        return ApiError.from_response(self.status, body, json.dumps(body), {})


VS = "virtualservices.networking.istio.io"
INVALID = 'VirtualService.networking.istio.io "a" is invalid: metadata.uid: Invalid value: "u": field is immutable'

# The table of errors on the wire, row by row.
ROWS = [
    pytest.param(
        Answer(403, "Forbidden", f'{VS} is forbidden: User "x" cannot patch resource in the namespace "shop"'),
        Reaction.FORBIDDEN,
        id="no right",
    ),
    pytest.param(
        Answer(403, "Forbidden", f'{VS} "a" is forbidden: unable to create new content', "NamespaceTerminating"),
        Reaction.DROP,
        id="namespace is being deleted",
    ),
    pytest.param(Answer(404, "NotFound", 'namespaces "shop" not found'), Reaction.DROP, id="namespace missing"),
    pytest.param(Answer(404, None, "404 page not found"), Reaction.NOT_INSTALLED, id="kind not installed"),
    pytest.param(
        Answer(409, "Conflict", 'Apply failed with 1 conflict: conflict with "kubectl"', "FieldManagerConflict"),
        Reaction.REPLAN,
        id="field owned by another",
    ),
    pytest.param(
        Answer(409, "Conflict", f'Operation cannot be fulfilled on {VS} "a": the UID in the precondition does not'),
        Reaction.REPLAN,
        id="wrong uid or version on a delete",
    ),
    pytest.param(Answer(422, "Invalid", INVALID), Reaction.REPLAN, id="wrong uid in an apply"),
    pytest.param(
        Answer(422, "Invalid", f'{VS} "a" is invalid: metadata.resourceVersion: Invalid value: 0'),
        Reaction.REPLAN,
        id="created over an existing one",
    ),
    pytest.param(
        Answer(422, "Invalid", "the server rejected our request due to an error in our request"),
        Reaction.REPLAN,
        id="test of a JSON patch failed",
    ),
    pytest.param(
        Answer(500, "", "failed to create typed patch object (shop/a): .spec.rout: field not declared in schema"),
        Reaction.REFUSED,
        id="does not fit the schema",
    ),
    pytest.param(Answer(500, "", "etcdserver: request is too large"), Reaction.REFUSED, id="too large for etcd"),
    pytest.param(
        Answer(413, "RequestEntityTooLarge", "Request entity too large: limit is 3145728"),
        Reaction.REFUSED,
        id="too large for the API server",
    ),
    pytest.param(
        Answer(422, "Invalid", f'{VS} "a" is invalid: metadata.annotations: Too long: may not be more than 262144'),
        Reaction.REFUSED,
        id="annotations too large",
    ),
    pytest.param(
        Answer(422, "Invalid", f"{VS} \"a\" is forbidden: ValidatingAdmissionPolicy 'no' with binding 'no' denied"),
        Reaction.DENIED,
        id="denied by an admission policy",
    ),
    pytest.param(
        Answer(403, "Forbidden", 'admission webhook "check.example.com" denied the request: no'),
        Reaction.DENIED,
        id="denied by a webhook",
    ),
    pytest.param(
        Answer(403, "Forbidden", f'{VS} "a" is forbidden: exceeded quota: count/virtualservices'),
        Reaction.DENIED,
        id="quota full",
    ),
    pytest.param(Answer(429, None, "Too many requests, please try again later."), Reaction.RETRY, id="overload"),
    pytest.param(Answer(410, "Expired", "too old resource version: 1 (5)"), Reaction.REPLAN, id="version too old"),
    pytest.param(
        Answer(504, "Timeout", "Too large resource version: 5, current: 1", "ResourceVersionTooLarge"),
        Reaction.RETRY,
        id="version of the future",
    ),
    pytest.param(Answer(401, "Unauthorized", "Unauthorized"), Reaction.RETRY, id="bad token"),
    # Beyond the table.
    pytest.param(Answer(404, "NotFound", f'{VS} "a" not found'), Reaction.REPLAN, id="the object is gone"),
    pytest.param(Answer(500, "InternalError", "etcdserver: leader changed"), Reaction.RETRY, id="other trouble, 500"),
    pytest.param(Answer(503, None, "apiserver is shutting down"), Reaction.RETRY, id="shutting down"),
    pytest.param(Answer(502, None, "Bad Gateway"), Reaction.RETRY, id="a proxy in between"),
    pytest.param(Answer(400, "BadRequest", "the body is not JSON"), Reaction.REFUSED, id="bad request"),
    pytest.param(Answer(415, "UnsupportedMediaType", "no"), Reaction.REFUSED, id="media type not known"),
    pytest.param(Answer(418, None, "I am a teapot"), Reaction.RETRY, id="a status nobody expects"),
]


@pytest.mark.parametrize(("answer", "expected"), ROWS)
def test_an_answer_is_classified_by_its_reason(answer: Answer, expected: Reaction) -> None:
    assert classify(answer.error) is expected


def test_no_answer_is_tried_again() -> None:
    assert classify(ConnectionLost("https://example.com: no answer in time")) is Reaction.RETRY


@pytest.mark.parametrize(
    ("reaction", "expected"),
    [
        pytest.param(Reaction.RETRY, Backoff(0.5, 30), id="retry"),
        pytest.param(Reaction.REPLAN, Backoff(0.05, 5), id="re-plan"),
        pytest.param(Reaction.FORBIDDEN, Backoff(2, 60), id="forbidden: at most every minute"),
        pytest.param(Reaction.DENIED, Backoff(5, 300), id="denied: at most every five minutes"),
        pytest.param(Reaction.REFUSED, Backoff(300, 300), id="refused: every five minutes"),
    ],
)
def test_a_reaction_says_how_soon_to_try_again(reaction: Reaction, expected: Backoff) -> None:
    assert BACKOFFS[reaction] == expected


def test_what_is_dropped_or_not_installed_waits_for_a_change() -> None:
    assert BACKOFFS.keys().isdisjoint({Reaction.DROP, Reaction.NOT_INSTALLED})


@pytest.mark.parametrize(
    ("reaction", "expected"),
    [
        pytest.param(Reaction.FORBIDDEN, Reason.FORBIDDEN, id="forbidden"),
        pytest.param(Reaction.DENIED, Reason.ADMISSION_REJECTED, id="denied"),
        pytest.param(Reaction.REFUSED, Reason.APPLY_FAILED, id="refused"),
        pytest.param(Reaction.RETRY, Reason.APPLY_FAILED, id="retry"),
        pytest.param(Reaction.NOT_INSTALLED, Reason.ISTIO_NOT_INSTALLED, id="not installed"),
    ],
)
def test_a_reaction_says_what_the_status_says_meanwhile(reaction: Reaction, expected: Reason) -> None:
    assert REASONS[reaction] is expected


def test_what_the_next_plan_will_know_is_not_said() -> None:
    assert REASONS.keys().isdisjoint({Reaction.DROP, Reaction.REPLAN})


# ---- what an answer is read as


def test_a_status_is_read() -> None:
    found = Answer(403, "Forbidden", "no", "NamespaceTerminating").error
    assert (found.status, found.reason, found.message, found.causes) == (
        403,
        "Forbidden",
        "no",
        ("NamespaceTerminating",),
    )


def test_plain_text_is_the_message() -> None:
    found = Answer(429, None, "Too many requests").error
    assert (found.reason, found.message, found.causes) == ("", "Too many requests", ())


@pytest.mark.parametrize("body", [None, [], "text", {"kind": "List"}, {"message": "not a Status"}])
def test_a_body_that_is_no_status_is_read_as_text(body: Any) -> None:
    assert ApiError.from_response(500, body, "as it came", {}).message == "as it came"


def test_the_header_says_when_to_try_again() -> None:
    assert ApiError.from_response(429, None, "", {"Retry-After": "2"}).retry_after == 2


def test_the_details_say_when_to_try_again() -> None:
    body = {"kind": "Status", "details": {"retryAfterSeconds": 5}}
    assert ApiError.from_response(504, body, "", {}).retry_after == 5


@pytest.mark.parametrize("header", ["Wed, 21 Oct 2026 07:28:00 GMT", "soon", "-1", ""])
def test_a_header_that_is_no_number_says_nothing(header: str) -> None:
    assert ApiError.from_response(503, None, "", {"Retry-After": header}).retry_after is None


def test_the_text_names_status_reason_and_message() -> None:
    assert str(Answer(409, "Conflict", "the world moved").error) == "409 Conflict: the world moved"


def test_the_text_says_where_there_is_no_reason() -> None:
    assert str(Answer(502, None, "Bad Gateway").error) == "502 without reason: Bad Gateway"


def test_control_characters_are_shown_as_escapes() -> None:
    assert str(Answer(500, None, "a\x1b[31mb\nc").error) == r"500 without reason: a\x1b[31mb\nc"


def test_a_long_message_is_cut() -> None:
    assert str(Answer(500, None, "x" * 300).error) == f"500 without reason: {'x' * 50}…{'x' * 149}"


@pytest.mark.parametrize("kind", [ApiError, ConnectionLost, ConfigurationError])
def test_every_error_is_a_kube_error(kind: type) -> None:
    assert issubclass(kind, KubeError)
