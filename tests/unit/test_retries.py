import pytest

from virtualservice_operator.controller.retries import Retries
from virtualservice_operator.kube.errors import ApiError, KubeError, Situation, Verdict, judge

FORBIDDEN = judge(ApiError(403, "Forbidden", "no"))
ERROR = judge(ApiError(500, "", "no"))
GONE = judge(ApiError(404, "NotFound", 'namespaces "shop" not found'))
OVERLOAD = judge(ApiError(429, "", "slow down"))


def delays(verdict: Verdict, tries: int, asked: float | None = None) -> list[float]:
    retries = Retries(jitter=lambda: 0)
    found = (retries.add("key", [(verdict, asked)]) for _ in range(tries))
    return [item[0] for item in found if item is not None]


def test_a_key_comes_back_later_each_time_up_to_the_cap_of_its_class() -> None:
    assert delays(FORBIDDEN, 7) == [2, 4, 8, 16, 32, 60, 60]
    assert delays(ERROR, 8) == [0.5, 1, 2, 4, 8, 16, 30, 30]


def test_each_key_counts_by_itself() -> None:
    retries = Retries(jitter=lambda: 0)
    retries.add("a", [(ERROR, None)])
    assert retries.add("b", [(ERROR, None)]) == (0.5, ERROR)
    assert (retries.tries("a"), retries.tries("b"), retries.tries("c")) == (1, 1, 0)


def test_a_key_that_went_through_begins_anew() -> None:
    retries = Retries(jitter=lambda: 0)
    retries.add("a", [(ERROR, None)])
    assert retries.add("a", []) is None
    assert retries.add("a", [(ERROR, None)]) == (0.5, ERROR)


def test_where_only_a_change_helps_the_key_does_not_come_back() -> None:
    assert delays(GONE, 3) == []


def test_of_several_troubles_the_one_that_may_pass_first_counts() -> None:
    retries = Retries(jitter=lambda: 0)
    assert retries.add("a", [(FORBIDDEN, None), (GONE, None), (ERROR, None)]) == (0.5, ERROR)
    assert retries.tries("a") == 1


@pytest.mark.parametrize("jitter", [0.0, 0.5, 1.0])
def test_a_wait_that_was_asked_for_is_never_cut_short(jitter: float) -> None:
    found = Retries(jitter=lambda: jitter).add("a", [(OVERLOAD, 2.0)])
    assert found is not None
    assert found[0] == pytest.approx(2 + 0.4 * jitter)


def test_waits_differ_so_that_keys_do_not_come_back_together() -> None:
    retries = Retries()
    found = {retries.add(number, [(ERROR, None)]) for number in range(20)}
    assert len(found) == 20
    assert all(0.4 <= item[0] <= 0.5 for item in found if item is not None)


def test_the_reason_is_the_situation_of_the_error_that_is_waited_out() -> None:
    error: KubeError = ApiError(500, "InternalError", 'failed calling webhook "x"')
    found = Retries().add("a", [(judge(error), None)])
    assert found is not None
    assert found[1].situation is Situation.WEBHOOK_FAILED
