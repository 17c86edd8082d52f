import pytest

from virtualservice_operator.controller.drift import RepairLog
from virtualservice_operator.core.objects import Key

TARGET = Key("shop", "reviews-virtual-service")
OTHER = Key("shop", "orders-virtual-service")


def repaired(*times: float, target: Key = TARGET) -> RepairLog:
    log = RepairLog()
    for time in times:
        log.add(target, time)
    return log


def test_what_was_never_repaired_is_repaired_at_once() -> None:
    assert RepairLog().wait(TARGET, 0) == 0


@pytest.mark.parametrize("times", [(0,), (0, 1, 2, 3)], ids=["once", "four times"])
def test_the_first_five_repairs_are_made_at_once(times: tuple[float, ...]) -> None:
    assert repaired(*times).wait(TARGET, 4) == 0


def test_the_sixth_repair_waits_for_a_minute_after_the_fifth() -> None:
    assert repaired(0, 1, 2, 3, 4).wait(TARGET, 10) == 54


def test_the_sixth_repair_is_made_when_the_minute_is_over() -> None:
    assert repaired(0, 1, 2, 3, 4).wait(TARGET, 64) == 0


def test_each_later_repair_waits_for_a_minute_again() -> None:
    assert repaired(0, 1, 2, 3, 4, 64).wait(TARGET, 65) == 59


def test_repairs_older_than_ten_minutes_do_not_count() -> None:
    assert repaired(0, 1, 2, 3, 600).wait(TARGET, 602) == 0


def test_a_repair_of_exactly_ten_minutes_ago_still_counts() -> None:
    assert repaired(0, 1, 2, 3, 600).wait(TARGET, 600) == 60


def test_after_ten_quiet_minutes_repairs_are_made_at_once_again() -> None:
    log = repaired(0, 1, 2, 3, 4)
    assert log.wait(TARGET, 605) == 0
    log.add(TARGET, 605)
    assert log.wait(TARGET, 606) == 0


def test_a_quiet_virtual_service_does_not_wait_for_a_busy_one() -> None:
    assert repaired(0, 1, 2, 3, 4, target=OTHER).wait(TARGET, 5) == 0
