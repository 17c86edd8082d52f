"""The worker: what it may still do once it is locked, and what the operator does when it takes too long or dies."""

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from virtualservice_operator.templates.process import DEADLINE, Ended, Told, Worker

HERE = Path(__file__).parent
ODD = (sys.executable, "-I", str(HERE.parent / "hostile" / "odd_worker.py"))
VALUES = json.dumps({"ServiceName": "reviews", "ClusterDomain": "cluster.local"})


def job(text: str, digest: str | None = None) -> dict[str, Any]:
    """Return a job that renders a text."""
    return {
        "digest": digest or str(hash(text)),
        "sources": {"virtualService": text},
        "entry": "virtualService",
        "variables": VALUES,
    }


def odd(do: str) -> dict[str, Any]:
    """Return a job for the odd worker, which does what it is told instead of rendering."""
    return {"digest": do, "do": do}


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def worker(said: list[str]) -> Iterator[Worker]:
    found = Worker(log=said.append)
    yield found
    found.close()


@pytest.fixture
def odd_worker(said: list[str]) -> Iterator[Worker]:
    found = Worker(ODD, log=said.append)
    yield found
    found.close()


def answers(told: list[Told]) -> list[Any]:
    return [item.answer["value"] if item.answer and item.answer["ok"] else item.answer or item.ended for item in told]


def test_a_batch_is_answered_in_order(worker: Worker) -> None:
    assert answers(worker.run([job(f"a: {number}") for number in range(5)])) == [{"a": number} for number in range(5)]


def test_it_starts_when_it_is_needed_and_stays(worker: Worker) -> None:
    assert worker.pid is None
    worker.run([job("a: 1")])
    first = worker.pid
    worker.run([job("a: 2")])
    assert (worker.pid, worker.starts) == (first, 1)


def test_a_text_that_does_not_compile_costs_its_job_only(worker: Worker) -> None:
    told = worker.run([job("a: 1"), job("{% if %}", "bad"), job("{% if %}", "bad"), job("a: 2")])
    assert [item.answer["ok"] for item in told] == [True, False, False, True]
    assert worker.kills == 0


def test_more_sets_of_texts_than_it_keeps_are_sent_again(worker: Worker) -> None:
    jobs = [job(f"a: {number}", str(number)) for number in range(300)]
    for _ in range(2):
        assert answers(worker.run(jobs)) == [{"a": number} for number in range(300)]


def test_a_refused_text_that_is_used_again_and_again_is_sent_once(worker: Worker) -> None:
    often = job("{{ nobody }}", "often")
    told = [worker.run([often, job("{{ nobody }}", str(number))])[0] for number in range(200)]
    assert all("'nobody' is not a variable" in item.answer["message"] for item in told)
    assert sum(item.compiled for item in told) == 1


def test_jobs_that_are_too_much_for_one_message_go_in_several(worker: Worker) -> None:
    large = {
        **job("a: {{ ServiceName }}"),
        "variables": json.dumps({"ServiceName": "x" * 200_000, "ClusterDomain": "c"}),
    }
    told = worker.run([large] * 60)
    assert [item.answer["ok"] for item in told] == [True] * 60
    assert worker.kills == 0


def test_a_job_that_is_too_much_for_one_message_is_refused_and_the_others_are_done(worker: Worker) -> None:
    """Its texts have not arrived then; the next job with them brings them."""
    text = "a: {{ ServiceName }}"
    endless = {**job(text), "variables": json.dumps({"ServiceName": "x" * 9_000_000, "ClusterDomain": "c"})}
    told = worker.run([job("a: 1"), endless, job(text)])
    assert [item.answer["ok"] for item in told] == [True, False, True]
    assert "its variables come to more than 8 MiB" in told[1].answer["message"]
    assert (worker.starts, worker.kills) == (1, 0)


def test_it_is_locked_or_says_why_not(worker: Worker, said: list[str]) -> None:
    worker.run([job("a: 1")])
    assert said == [] or "without its system call filter" in said[0]


@pytest.mark.parametrize(
    "do",
    [
        *("open", "listdir", "stat", "socket", "socketpair", "fork", "exec", "kill parent", "kill self", "thread"),
        *("read token", "parent memory", "parent environ", "process_vm_readv", "ptrace", "mmap exec", "unshare"),
        *("pipe", "dup", "raise limit", "mount", "setuid", "perf", "bpf"),
    ],
)
def test_a_locked_worker_is_refused(odd_worker: Worker, said: list[str], do: str) -> None:
    (told,) = odd_worker.run([odd(do)])
    if said:
        pytest.skip(f"this machine cannot lock the worker: {said[0]}")
    assert told.answer == {"ok": True, "value": "refused"}, f"{do}: {told}"


def test_a_worker_has_an_empty_environment_and_three_descriptors(odd_worker: Worker) -> None:
    """But for what Python itself sets where there is no locale."""
    (told,) = odd_worker.run([odd("what it has")])
    assert told.answer["value"] == {"environment": ["LC_CTYPE"], "descriptors": [0, 1, 2], "directory": "/"}


def test_a_worker_that_cannot_be_locked_says_so_and_renders(said: list[str]) -> None:
    worker = Worker((*ODD, "unlocked"), log=said.append)
    assert answers(worker.run([job("a: 1"), odd("nothing")]))[0] == {"a": 1}
    assert said == ["the template worker runs without its system call filter (not asked for); its other limits hold"]
    worker.close()


def test_includes_that_double_are_refused_by_their_steps_each_time(worker: Worker) -> None:
    """The deadline for a job that is compiled first is longer: what the clock decided would change with the second job."""
    texts = {f"i{n}": "" if n == 15 else f"{{% include 'i{n + 1}' %}}" * 2 for n in range(16)}
    tree = {**job("", "tree"), "sources": {"virtualService": "{% include 'i0' %}", **texts}}
    told = [item for _ in range(3) for item in worker.run([tree])]
    assert ["100000 steps" in item.answer["message"] for item in told if item.answer] == [True] * 3
    assert worker.kills == 0


@pytest.mark.parametrize(
    ("do", "says"),
    [
        ("loop", "250 ms of CPU time"),
        ("loop in C", "250 ms of CPU time"),
        ("eat memory", "it has ended"),
        ("exit", "it has ended"),
        ("say nonsense", "no JSON"),
        ("say too much", "its answer has"),
        ("say deep JSON", "no JSON"),
        ("say deep lists", "nested more than 52 deep"),
        ("say NaN", "its answer holds NaN"),
        ("say a large number", "its answer holds -1e999"),
        ("segfault", "it has ended"),
    ],
)
def test_trouble_costs_its_job_and_the_others_are_done(odd_worker: Worker, said: list[str], do: str, says: str) -> None:
    told = odd_worker.run([job("a: 1"), odd(do), job("a: 2"), job("a: 3")])
    assert answers(told) == [{"a": 1}, Ended.KILLED, {"a": 2}, {"a": 3}]
    assert (odd_worker.starts, odd_worker.kills) == (2, 1)
    assert says in said[-1]


def test_an_answer_is_as_deep_as_yaml_may_be(worker: Worker) -> None:
    deep: Any = "[" * 50 + "]" * 50
    assert answers(worker.run([job(f"{deep}")])) == [json.loads(deep)]
    wide = ", ".join(["{b: [1.5]}"] * 100)
    assert answers(worker.run([job(f"a: [{wide}]")])) == [{"a": [{"b": [1.5]}] * 100}]


def test_a_loop_is_ended_by_its_own_time_not_by_that_of_the_machine(odd_worker: Worker) -> None:
    odd_worker.run([odd("nothing")])
    (told,) = odd_worker.run([odd("loop")])
    assert told.ended is Ended.KILLED
    assert told.seconds >= DEADLINE * 0.9


def test_who_does_nothing_is_ended_too(said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Locked, it could not even sleep."""
    worker = Worker((*ODD, "unlocked"), log=said.append)
    worker.run([odd("nothing")])
    monkeypatch.setattr("virtualservice_operator.templates.process.LONGEST_WAIT", 0.3)
    (told,) = worker.run([odd("wait")])
    worker.close()
    assert told.ended is Ended.KILLED


def test_a_worker_that_was_killed_between_jobs_is_replaced(worker: Worker) -> None:
    worker.run([job("a: 1")])
    pid = worker.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    found = [item for _ in range(3) for item in answers(worker.run([job("a: 2")]))]
    assert found[-2:] == [{"a": 2}, {"a": 2}]
    assert worker.starts == 2


def test_a_worker_that_cannot_be_started_is_tried_again_later(said: list[str]) -> None:
    worker = Worker(("/nowhere/python",), log=said.append)
    assert answers(worker.run([job("a: 1")])) == [Ended.UNAVAILABLE]
    assert answers(worker.run([job("a: 1")])) == [Ended.UNAVAILABLE]
    assert len(said) == 1
    assert "cannot be started" in said[0]


def test_a_worker_that_says_nothing_is_not_waited_for_for_ever(said: list[str]) -> None:
    worker = Worker((sys.executable, "-c", "pass"), log=said.append)
    assert answers(worker.run([job("a: 1")])) == [Ended.UNAVAILABLE]
    assert "it says nothing" in said[0]


def test_a_worker_can_be_started_before_it_is_needed(worker: Worker) -> None:
    worker.begin()
    assert answers(worker.run([job("a: 1")])) == [{"a": 1}]
    assert worker.starts == 1


def test_a_worker_that_was_not_needed_is_ended_too(worker: Worker) -> None:
    worker.begin()
    assert worker._begun is not None
    pid = worker._begun.pid
    worker.close()
    assert not Path(f"/proc/{pid}").exists()


def test_a_closed_worker_starts_no_more(worker: Worker) -> None:
    worker.run([job("a: 1")])
    worker.close()
    assert answers(worker.run([job("a: 1")])) == [Ended.UNAVAILABLE]


def test_the_worker_ends_with_whoever_started_it(tmp_path: Path) -> None:
    """Its input ends; and one that computes without end is ended by the kernel."""
    script = (
        "import sys, os\n"
        "from virtualservice_operator.templates import wire\n"
        "from virtualservice_operator.templates.process import Worker\n"
        f"worker = Worker({ODD!r})\n"
        "worker.run([{'digest': 'x', 'sources': {}, 'do': 'nothing'}])\n"
        "child = worker._child\n"
        "child.send(wire.pack([{'digest': 'x', 'do': 'loop'}]))\n"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(worker.pid))\n"
        "os._exit(0)\n"
    )
    os.waitpid(os.spawnv(os.P_NOWAIT, sys.executable, [sys.executable, "-c", script]), 0)
    pid = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 30
    while Path(f"/proc/{pid}").exists() and not is_zombie(pid):
        assert time.monotonic() < deadline, "it computes on"
        time.sleep(0.1)


def is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
