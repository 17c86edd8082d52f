from virtualservice_operator.core.breaker import Circuit, State

WAIT = 10.0


def failed(circuit: Circuit, name: str, at: float) -> Circuit:
    """Return the circuit after a request for an object that failed at once."""
    return circuit.begin(name, at).fail(name, now=at, wait=WAIT)


def opened(at: float = 0.0) -> Circuit:
    """Return a circuit that opened."""
    circuit = Circuit()
    for name in ("a", "b", "c"):
        circuit = failed(circuit, name, at)
    return circuit


def test_a_new_circuit_is_closed_and_admits() -> None:
    assert Circuit().state(0) is State.CLOSED
    assert Circuit().admits(0)


def test_it_opens_when_three_objects_in_a_row_have_failed() -> None:
    two = failed(failed(Circuit(), "a", 0), "b", 0)
    assert two.state(0) is State.CLOSED
    three = failed(two, "c", 0)
    assert three.state(0) is State.OPEN
    assert not three.admits(0)


def test_one_object_that_fails_again_and_again_holds_up_no_other() -> None:
    circuit = Circuit()
    for at in range(100):
        circuit = failed(circuit, "poison", at)
    assert circuit.state(100) is State.CLOSED
    assert circuit.admits(100)


def test_a_success_in_between_begins_the_count_anew() -> None:
    circuit = failed(failed(Circuit(), "a", 0), "b", 0).begin("good", 1).succeed()
    assert failed(failed(circuit, "c", 2), "d", 2).state(2) is State.CLOSED


def test_it_stays_open_for_as_long_as_it_was_told_and_is_half_open_then() -> None:
    circuit = opened(at=100)
    assert circuit.state(109.9) is State.OPEN
    assert circuit.state(110) is State.HALF_OPEN
    assert circuit.admits(110)


def test_half_open_one_request_at_a_time_may_try() -> None:
    circuit = opened().begin("probe", 10)
    assert circuit.state(10) is State.HALF_OPEN
    assert not circuit.admits(10)
    assert not circuit.admits(1000)


def test_a_probe_that_succeeds_closes_it() -> None:
    circuit = opened().begin("probe", 10).succeed()
    assert circuit.state(10) is State.CLOSED
    assert circuit.is_idle


def test_a_probe_that_fails_opens_it_for_longer() -> None:
    circuit = opened().begin("probe", 10).fail("probe", now=12, wait=20)
    assert (circuit.state(31.9), circuit.state(32)) == (State.OPEN, State.HALF_OPEN)
    assert circuit.openings == 2


def test_a_request_from_before_the_opening_that_fails_changes_nothing() -> None:
    circuit = opened().begin("d", 0).begin("probe", 10)
    late = circuit.fail("d", now=11, wait=500)
    assert (late.until, late.probe, late.openings) == (circuit.until, "probe", 1)


def test_a_request_from_before_the_opening_that_succeeds_closes_it() -> None:
    begun = Circuit().begin("good", 0)
    for name in ("a", "b", "c"):
        begun = failed(begun, name, 1)
    assert begun.state(2) is State.OPEN
    assert begun.succeed().state(2) is State.CLOSED


def test_a_probe_that_was_broken_off_says_nothing_and_another_may_try() -> None:
    circuit = opened().begin("probe", 10).give_up("probe")
    assert circuit.state(10) is State.HALF_OPEN
    assert circuit.admits(10)


def test_what_it_remembers_does_not_grow() -> None:
    circuit = opened()
    for at in range(1000):
        circuit = circuit.begin(f"name-{at}", 10 * at).fail(f"name-{at}", now=10 * at, wait=0)
    assert len(circuit.failing) == 3
    assert circuit.running == 0
