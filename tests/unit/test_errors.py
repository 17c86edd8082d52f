import json
from typing import Any, NamedTuple

import pytest

from virtualservice_operator.api.conditions import Reason
from virtualservice_operator.kube.errors import (
    RARELY,
    ApiError,
    Backoff,
    Blame,
    ConfigurationError,
    ConnectionLost,
    HeldBack,
    KubeError,
    NoAnswer,
    NotLeader,
    Reaction,
    Situation,
    StoredOtherwise,
    Verdict,
    asked_wait,
    classify,
    judge,
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

SLOWLY = Backoff(5, 300)
AT_ONCE = Backoff(0.05, 5)
TRANSIENT = Backoff(0.5, 30)
WEBHOOK = 'Internal error occurred: failed calling webhook "check.example.com": failed to call webhook: Post "https://'

# The table of errors on the wire, row by row: reaction, back-off, what the status says, whose trouble it is.
ROWS = [
    pytest.param(
        Answer(403, "Forbidden", f'{VS} is forbidden: User "x" cannot patch resource in the namespace "shop"'),
        Verdict(Situation.FORBIDDEN, Reaction.FORBIDDEN, Backoff(2, 60), Reason.FORBIDDEN, Blame.WAY),
        id="no right",
    ),
    pytest.param(
        Answer(403, "Forbidden", f'{VS} "a" is forbidden: unable to create new content', "NamespaceTerminating"),
        Verdict(Situation.NAMESPACE_TERMINATING, Reaction.DROP, None, None),
        id="namespace is being deleted",
    ),
    pytest.param(
        Answer(404, "NotFound", 'namespaces "shop" not found'),
        Verdict(Situation.NAMESPACE_MISSING, Reaction.DROP, None, None),
        id="namespace missing",
    ),
    pytest.param(
        Answer(404, None, "404 page not found"),
        Verdict(Situation.KIND_MISSING, Reaction.NOT_INSTALLED, Backoff(1, 30), Reason.ISTIO_NOT_INSTALLED),
        id="kind not installed",
    ),
    pytest.param(
        Answer(409, "Conflict", 'Apply failed with 1 conflict: conflict with "kubectl"', "FieldManagerConflict"),
        Verdict(Situation.FIELD_CONFLICT, Reaction.REFUSED, SLOWLY, Reason.APPLY_FAILED),
        id="field owned by another: reported, never forced",
    ),
    pytest.param(
        Answer(409, "Conflict", f'Operation cannot be fulfilled on {VS} "a": the UID in the precondition does not'),
        Verdict(Situation.CONFLICT, Reaction.REPLAN, AT_ONCE, None),
        id="wrong uid or version on a delete",
    ),
    pytest.param(
        Answer(422, "Invalid", INVALID),
        Verdict(Situation.REPLACED, Reaction.REPLAN, AT_ONCE, None),
        id="wrong uid in an apply",
    ),
    pytest.param(
        Answer(422, "Invalid", f'{VS} "a" is invalid: metadata.resourceVersion: Invalid value: 0'),
        Verdict(Situation.REPLACED, Reaction.REPLAN, AT_ONCE, None),
        id="created over an existing one",
    ),
    pytest.param(
        Answer(422, "Invalid", "the server rejected our request due to an error in our request"),
        Verdict(Situation.REPLACED, Reaction.REPLAN, AT_ONCE, None),
        id="test of a JSON patch failed",
    ),
    pytest.param(
        Answer(500, "", "failed to create typed patch object (shop/a): .spec.rout: field not declared in schema"),
        Verdict(Situation.SCHEMA_MISMATCH, Reaction.REFUSED, RARELY, Reason.APPLY_FAILED),
        id="does not fit the schema",
    ),
    pytest.param(
        Answer(500, "", "etcdserver: request is too large"),
        Verdict(Situation.TOO_LARGE, Reaction.REFUSED, RARELY, Reason.APPLY_FAILED),
        id="too large for etcd",
    ),
    pytest.param(
        Answer(
            500, "", "rpc error: code = ResourceExhausted desc = trying to send message larger than max (25 vs. 20)"
        ),
        Verdict(Situation.TOO_LARGE, Reaction.REFUSED, RARELY, Reason.APPLY_FAILED),
        id="too large for the way to etcd",
    ),
    pytest.param(
        Answer(413, "RequestEntityTooLarge", "Request entity too large: limit is 3145728"),
        Verdict(Situation.TOO_LARGE, Reaction.REFUSED, RARELY, Reason.APPLY_FAILED),
        id="too large for the API server",
    ),
    pytest.param(
        Answer(422, "Invalid", f'{VS} "a" is invalid: metadata.annotations: Too long: may not be more than 262144'),
        Verdict(Situation.INVALID, Reaction.REFUSED, RARELY, Reason.APPLY_FAILED),
        id="annotations too large",
    ),
    pytest.param(
        Answer(422, "Invalid", f"{VS} \"a\" is forbidden: ValidatingAdmissionPolicy 'no' with binding 'no' denied"),
        Verdict(Situation.ADMISSION_DENIED, Reaction.DENIED, SLOWLY, Reason.ADMISSION_REJECTED),
        id="denied by an admission policy",
    ),
    pytest.param(
        Answer(
            422, "Invalid", f"{VS} \"a\" is forbidden: ValidatingAdmissionPolicy 'virtualservice-operator-fence' denied"
        ),
        Verdict(Situation.FENCED, Reaction.REPLAN, AT_ONCE, None),
        id="denied by the fence",
    ),
    pytest.param(
        Answer(403, "Forbidden", 'admission webhook "check.example.com" denied the request: no'),
        Verdict(Situation.ADMISSION_DENIED, Reaction.DENIED, SLOWLY, Reason.ADMISSION_REJECTED),
        id="denied by a webhook",
    ),
    pytest.param(
        Answer(403, "Forbidden", f'{VS} "a" is forbidden: exceeded quota: count/virtualservices'),
        Verdict(Situation.QUOTA_EXCEEDED, Reaction.DENIED, SLOWLY, Reason.ADMISSION_REJECTED, Blame.WAY),
        id="quota full",
    ),
    pytest.param(
        Answer(500, "InternalError", f'{WEBHOOK}127.0.0.1:9/": dial tcp 127.0.0.1:9: connect: connection refused'),
        Verdict(Situation.WEBHOOK_FAILED, Reaction.RETRY, Backoff(1, 30), Reason.ADMISSION_REJECTED, Blame.WAY),
        id="webhook away",
    ),
    pytest.param(
        Answer(500, "InternalError", f'{WEBHOOK}127.0.0.1:9/": context deadline exceeded'),
        Verdict(Situation.WEBHOOK_FAILED, Reaction.RETRY, Backoff(1, 30), Reason.ADMISSION_REJECTED, Blame.WAY),
        id="webhook hangs",
    ),
    pytest.param(
        Answer(429, None, "Too many requests, please try again later."),
        Verdict(Situation.OVERLOAD, Reaction.RETRY, Backoff(1, 30), Reason.APPLY_FAILED, Blame.SERVER),
        id="overload",
    ),
    pytest.param(
        Answer(410, "Expired", "too old resource version: 1 (5)"),
        Verdict(Situation.EXPIRED, Reaction.REPLAN, AT_ONCE, None),
        id="version too old",
    ),
    pytest.param(
        Answer(504, "Timeout", "Too large resource version: 5, current: 1", "ResourceVersionTooLarge"),
        Verdict(Situation.FUTURE_VERSION, Reaction.RETRY, Backoff(1, 30), Reason.APPLY_FAILED),
        id="version of the future",
    ),
    pytest.param(
        Answer(401, "Unauthorized", "Unauthorized"),
        Verdict(Situation.UNAUTHORIZED, Reaction.RETRY, Backoff(0.5, 10), Reason.APPLY_FAILED, Blame.SERVER),
        id="bad token, read anew already",
    ),
    # Beyond the table.
    pytest.param(
        Answer(404, "NotFound", f'{VS} "a" not found'),
        Verdict(Situation.OBJECT_MISSING, Reaction.REPLAN, AT_ONCE, None),
        id="the object is gone",
    ),
    pytest.param(
        Answer(500, "InternalError", "etcdserver: leader changed"),
        Verdict(Situation.SERVER_ERROR, Reaction.RETRY, TRANSIENT, Reason.APPLY_FAILED, Blame.WAY),
        id="other trouble, 500",
    ),
    pytest.param(
        Answer(504, "Timeout", "request did not complete within the allotted timeout"),
        Verdict(Situation.SERVER_ERROR, Reaction.RETRY, TRANSIENT, Reason.APPLY_FAILED, Blame.WAY),
        id="time is up",
    ),
    pytest.param(
        Answer(503, None, "apiserver is shutting down"),
        Verdict(Situation.UNAVAILABLE, Reaction.RETRY, Backoff(0.5, 5), Reason.APPLY_FAILED, Blame.SERVER),
        id="shutting down",
    ),
    pytest.param(
        Answer(502, None, "Bad Gateway"),
        Verdict(Situation.UNAVAILABLE, Reaction.RETRY, Backoff(0.5, 5), Reason.APPLY_FAILED, Blame.SERVER),
        id="a proxy in between",
    ),
    pytest.param(
        Answer(400, "BadRequest", "the body is not JSON"),
        Verdict(Situation.INVALID, Reaction.REFUSED, RARELY, Reason.APPLY_FAILED),
        id="bad request",
    ),
    pytest.param(
        Answer(415, "UnsupportedMediaType", "no"),
        Verdict(Situation.INVALID, Reaction.REFUSED, RARELY, Reason.APPLY_FAILED),
        id="media type not known",
    ),
    pytest.param(
        Answer(418, None, "I am a teapot"),
        Verdict(Situation.SERVER_ERROR, Reaction.RETRY, TRANSIENT, Reason.APPLY_FAILED, Blame.WAY),
        id="a status nobody expects",
    ),
]
NO_ANSWER_ROWS = [
    pytest.param(
        ConnectionLost("https://example.com: connection refused"),
        Verdict(Situation.UNREACHABLE, Reaction.RETRY, Backoff(0.5, 2), Reason.APPLY_FAILED, Blame.SERVER),
        id="nobody there",
    ),
    pytest.param(
        NoAnswer("https://example.com: no answer in time"),
        Verdict(Situation.NO_ANSWER, Reaction.RETRY, TRANSIENT, Reason.APPLY_FAILED, Blame.WAY),
        id="no answer in time",
    ),
    pytest.param(
        StoredOtherwise("not as it was sent"),
        Verdict(Situation.STORED_OTHERWISE, Reaction.REFUSED, RARELY, Reason.APPLY_FAILED),
        id="stored otherwise",
    ),
    pytest.param(
        NotLeader("this replica does not hold the Lease any more"),
        Verdict(Situation.NOT_LEADER, Reaction.REPLAN, AT_ONCE, None),
        id="not the leader",
    ),
]


@pytest.mark.parametrize(("answer", "expected"), ROWS)
def test_an_answer_is_judged_by_its_reason(answer: Answer, expected: Verdict) -> None:
    assert judge(answer.error) == expected
    assert classify(answer.error) is expected.reaction


@pytest.mark.parametrize(("error", "expected"), NO_ANSWER_ROWS)
def test_what_is_no_answer_is_judged_too(error: KubeError, expected: Verdict) -> None:
    assert judge(error) == expected


def test_every_situation_has_a_row_here() -> None:
    expected = [row.values[1] for row in (*ROWS, *NO_ANSWER_ROWS)]
    assert {item.situation for item in expected if isinstance(item, Verdict)} == set(Situation)


def test_what_was_held_back_is_judged_as_those_before_it() -> None:
    verdict = judge(Answer(403, "Forbidden", "no").error)
    assert judge(HeldBack("later", verdict, 4)) is verdict


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        pytest.param(ApiError(429, "", "", retry_after=2), 2, id="the API server asks"),
        pytest.param(ApiError(500, "", ""), None, id="the API server does not"),
        pytest.param(HeldBack("later", judge(NoAnswer()), 4), 4, id="we ask ourselves"),
        pytest.param(ConnectionLost("gone"), None, id="nobody is there"),
    ],
)
def test_a_wait_may_be_asked_for(error: KubeError, expected: float | None) -> None:
    assert asked_wait(error) == expected


@pytest.mark.parametrize(
    ("tries", "share", "expected"),
    [(0, 0, 0.5), (1, 0, 1), (2, 0, 2), (5, 0, 16), (6, 0, 30), (500, 0, 30), (2, 1, 1.6), (6, 0.5, 27)],
)
def test_a_back_off_doubles_up_to_its_cap_less_some_jitter(tries: int, share: float, expected: float) -> None:
    assert Backoff(0.5, 30).delay(tries, share) == pytest.approx(expected)


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
