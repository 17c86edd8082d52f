"""Leader election as one replica sees it, with time as a number and no Lease anywhere."""

import math
from dataclasses import replace

import pytest

from virtualservice_operator.core.lease import Candidate, LeaseRecord, LeaseTiming, Term

BLANK = LeaseRecord()
RELEASED = LeaseRecord("", 1, 4, "t0", "t1")
OTHERS = LeaseRecord("b", 15, 4, "t0", "t1")
GARBAGE = LeaseRecord("\u2603" * 50, 2**31 - 1, 2**31 - 1, "1970-01-01T00:00:00.000000Z", "9999-01-01T00:00:00.000000Z")
NOBODY = Candidate("a")


def leading(at: float = 100, candidate: Candidate = NOBODY) -> Candidate:
    """Return a candidate that took a blank Lease at a moment."""
    looked = candidate.observe(BLANK, at)
    record = looked.claim(f"clock {at}")
    return looked.attempt(record, at).win(record)


def renewed(candidate: Candidate, at: float) -> Candidate:
    record = candidate.claim(f"clock {at}")
    return candidate.attempt(record, at).win(record)


def test_nothing_is_written_before_the_first_look() -> None:
    assert NOBODY.next_try() == math.inf
    assert NOBODY.writes_until() == -math.inf


@pytest.mark.parametrize(
    ("record", "wait"),
    [
        (BLANK, 0),
        (RELEASED, 0),
        (replace(OTHERS, holder="a"), 0),
        (OTHERS, 15),
        (None, 15),
        (GARBAGE, 15),
        (replace(OTHERS, duration=1), 15),
        (replace(OTHERS, duration=40), 40),
        (replace(OTHERS, holder=""), 15),
        (replace(BLANK, duration=15), 15),
    ],
    ids=[
        *("never held", "released", "ours from before a restart", "another's", "missing", "garbage"),
        *("one that says less than our own time", "one that says more", "the name cut out", "no name, but a time"),
    ],
)
def test_at_the_first_look_a_lease_may_be_taken_after(record: LeaseRecord | None, wait: float) -> None:
    assert NOBODY.observe(record, 100).next_try() == 100 + wait


def test_a_renewal_of_another_starts_the_wait_anew_and_a_second_look_at_the_same_does_not() -> None:
    seen = NOBODY.observe(OTHERS, 100).observe(OTHERS, 107)
    assert seen.next_try() == 115
    assert seen.observe(replace(OTHERS, renewed="t2"), 107).next_try() == 122


@pytest.mark.parametrize("clock", ["1970-01-01T00:00:00.000000Z", "2999-01-01T00:00:00.000000Z", "", "yesterday"])
def test_what_anothers_clock_shows_changes_nothing(clock: str) -> None:
    assert NOBODY.observe(replace(OTHERS, renewed=clock, acquired=clock), 100).next_try() == 115


def test_a_lease_that_is_deleted_or_emptied_is_left_to_who_held_it_for_as_long_as_if_it_stood() -> None:
    seen = NOBODY.observe(OTHERS, 100)
    assert seen.observe(None, 104).next_try() == 115
    assert seen.observe(BLANK, 104).next_try() == 115
    assert seen.observe(BLANK, 104).claim("now").transitions == 5


def test_a_lease_that_was_missing_and_appears_empty_is_not_taken_at_once() -> None:
    assert NOBODY.observe(None, 100).observe(BLANK, 104).next_try() == 115


def test_our_name_written_by_somebody_else_is_not_ours() -> None:
    forged = NOBODY.observe(OTHERS, 100).observe(replace(OTHERS, holder="a"), 103)
    assert forged.term is None
    assert forged.next_try() == 118
    lost = leading(100).observe(LeaseRecord("a", 15, 9, "t0", "t1"), 103)
    assert lost.term is None
    assert lost.next_try() == 118


def test_taking_counts_the_transition_and_renewing_keeps_it() -> None:
    taken = NOBODY.observe(OTHERS, 100).claim("t9")
    assert taken == LeaseRecord("a", 15, 5, "t9", "t9")
    held = NOBODY.observe(OTHERS, 100).attempt(taken, 115).win(taken)
    assert held.claim("t10") == LeaseRecord("a", 15, 5, "t9", "t10")
    assert held.release("t11") == LeaseRecord("", 1, 5, "t9", "t11")
    assert held.release("t11").is_released


def test_a_count_at_its_end_begins_anew() -> None:
    assert NOBODY.observe(GARBAGE, 100).claim("t9").transitions == 1


def test_the_holder_renews_every_two_seconds_from_when_it_sent_the_last_renewal() -> None:
    assert leading(100).next_try() == 102
    assert renewed(leading(100), 102.5).next_try() == 104.5


def test_a_renewal_that_failed_is_tried_again_two_seconds_later() -> None:
    held = leading(100)
    assert held.attempt(held.claim("x"), 102).next_try() == 104


def test_the_holder_writes_for_ten_seconds_after_the_last_renewal_and_what_is_under_way_ends_well_before_fifteen() -> (
    None
):
    held = leading(100)
    assert (held.writes_until(), held.held_until()) == (110, 112.5)
    assert held.attempt(held.claim("lost on its way"), 109).writes_until() == 110


def test_a_holder_whose_lease_is_deleted_or_emptied_writes_on_and_makes_it_again() -> None:
    for record in (None, BLANK):
        held = leading(100).observe(record, 101)
        assert held.term == Term(1, "clock 100")
        assert held.next_try() == 102
        assert held.claim("t9") == LeaseRecord("a", 15, 1, "clock 100", "t9")


@pytest.mark.parametrize("record", [OTHERS, GARBAGE, RELEASED, replace(OTHERS, holder="")])
def test_a_holder_that_finds_anything_else_in_the_lease_stops_at_once(record: LeaseRecord) -> None:
    lost = leading(100).observe(record, 101)
    assert (lost.term, lost.writes_until(), lost.held_until()) == (None, -math.inf, -math.inf)


def test_a_write_whose_answer_was_lost_is_known_when_it_is_seen() -> None:
    seen = NOBODY.observe(OTHERS, 100)
    claim = seen.claim("t9")
    won = seen.attempt(claim, 115).observe(claim, 119)
    assert won.term == Term(5, "t9")
    assert won.writes_until() == 125


def test_who_was_overtaken_looks_and_need_not_wait_before_the_next_try() -> None:
    seen = NOBODY.observe(RELEASED, 100)
    overtaken = seen.attempt(seen.claim("t9"), 100).be_overtaken()
    assert overtaken.observe(OTHERS, 100.1).next_try() == pytest.approx(115.1)
    assert overtaken.observe(replace(RELEASED, renewed="t2"), 100.1).next_try() == pytest.approx(100.1)


def test_a_holder_that_slept_knows_when_it_wakes_that_it_may_not_write() -> None:
    held = leading(100)
    assert held.writes_until() < 120
    assert held.term is not None


@pytest.mark.parametrize("rate", [0.85, 1.0, 1.2])
@pytest.mark.parametrize("offset", [-3600.0, 0.0, 3600.0])
def test_no_two_write_at_once_whatever_the_clocks_show_and_though_one_runs_faster(rate: float, offset: float) -> None:
    """Two replicas on one true time: b's clock is an hour off and runs at a rate of its own; a falls silent at 100."""
    timing = LeaseTiming()
    a = leading(100, Candidate("a", timing))
    record = a.seen
    b = Candidate("b", timing).observe(record, 100.01 * rate + offset)
    true_time_of_takeover = (b.next_try() - offset) / rate
    assert a.held_until() <= true_time_of_takeover


def test_times_of_ones_own_are_kept() -> None:
    held = leading(100, Candidate("a", LeaseTiming(6, 4, 1)))
    assert (held.next_try(), held.writes_until(), held.held_until()) == (101, 104, 105)
    assert Candidate("b").observe(held.seen, 100).next_try() == 115
