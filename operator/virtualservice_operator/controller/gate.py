"""
Every write goes through here: it is counted, and held back where it would only add to a trouble.

    a circuit for each kind, verb and namespace     rights, webhooks and quotas are given out by these three
    a circuit for the API server as a whole         it is away, or does not know us
    a pause                                         it is overloaded and has said for how long

What is held back for the server's sake stays in the queues, which rest meanwhile; what is held back for a namespace's
comes back by itself, and says so in the status. Nobody else waits for it (docs/adr/0017).
"""

import logging
import math
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from virtualservice_operator.controller.metrics import Metrics
from virtualservice_operator.controller.queue import KeyQueue
from virtualservice_operator.controller.tracing import OFF, Tracing
from virtualservice_operator.core.breaker import Circuit, State
from virtualservice_operator.core.objects import Key
from virtualservice_operator.kube.client import KubeClient
from virtualservice_operator.kube.errors import (
    Backoff,
    Blame,
    HeldBack,
    KubeError,
    NotLeader,
    Reaction,
    Situation,
    Verdict,
    asked_wait,
    judge,
)

logger = logging.getLogger(__name__)

# How soon one request may see whether a trouble is over; the keys themselves wait longer, and come back when it is.
_PROBES: Final = {Reaction.RETRY: Backoff(0.5, 5), Reaction.FORBIDDEN: Backoff(2, 60), Reaction.DENIED: Backoff(5, 300)}
# A webhook that hangs costs each request ten seconds.
_PROBES_OF: Final = {Situation.WEBHOOK_FAILED: Backoff(1, 30), Situation.NO_ANSWER: Backoff(1, 30)}
_SERVER_PROBES: Final = Backoff(0.5, 2)
# While one request finds out whether the server is back, the others look again so often.
_REST: Final = 0.5
# Who is held back comes back to ask again; all of a namespace together so often, and each at least so often.
_ASK_EVERY: Final = 0.5
_ASK_AT_LEAST: Final = 30.0
# Where every other answer is an error, reads get through again and again.
_HOPE_EVERY: Final = 5.0


class Way(NamedTuple):
    """What rights, webhooks and quotas are given out by. The server as a whole has none of the three."""

    kind: str
    verb: str
    namespace: str

    def __str__(self) -> str:
        """Return it in words."""
        return f"requests to {self.verb} a {self.kind} in {self.namespace}" if self.kind else "requests"


_SERVER: Final = Way("", "", "")


class WriteGate:
    """
    The client, the metrics and the traces, for all that writes. `queues` are rested and hurried.

    `request` lets a write through, or raises `HeldBack`. All calls come from one event loop.
    """

    def __init__(
        self,
        client: KubeClient,
        metrics: Metrics,
        *queues: KeyQueue,
        tracing: Tracing = OFF,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.client: Final = client
        self.metrics: Final = metrics
        self.tracing: Final = tracing
        self._queues = queues
        self._clock = clock
        self._circuits: dict[Way, Circuit] = {}
        self._troubles: dict[Way, tuple[Verdict, str]] = {}
        self._held: dict[Way, set[str]] = {}
        self._paused_until = 0.0
        self._hoped = -math.inf
        metrics.circuits.read_from(self.states)

    def states(self) -> dict[Way, State]:
        """Return the state of every circuit that is not closed, for the metric."""
        now = self._clock()
        for way in [way for way, circuit in self._circuits.items() if circuit.is_forgotten(now)]:
            self._settle(way, _CLOSED)
        found = {way: circuit.state(now) for way, circuit in self._circuits.items()}
        return {way: state for way, state in found.items() if state is not State.CLOSED}

    @contextmanager
    def request(self, kind: str, verb: str, target: Key) -> Iterator[None]:
        """
        Let one write through, and learn from what becomes of it.

        Errors: `HeldBack` where it is not to be made now; whatever the body raises.
        """
        with self.tracing.span("write") as span:
            span.say("k8s.object.kind", kind)
            span.say("k8s.namespace.name", target.namespace)
            span.say("k8s.object.name", target.name)
            span.say("virtualservice_operator.verb", verb)
            try:
                with self._watched(Way(kind, verb, target.namespace), str(target)):
                    yield
            except KubeError as error:
                span.fail("HeldBack" if isinstance(error, HeldBack) else judge(error).situation, str(error))
                raise

    @contextmanager
    def _watched(self, way: Way, name: str) -> Iterator[None]:
        now = self._clock()
        self._admit(way, name, now)
        for item in (way, _SERVER):
            self._circuits[item] = self._circuit(item).begin(name, now)
        try:
            yield
        except KubeError as error:
            self.metrics.writes.labels(way.kind, way.verb, judge(error).situation).inc()
            self._learn(way, name, error)
            raise
        except BaseException:
            for item in (way, _SERVER):
                self._give_up(item, name)
            raise
        self.metrics.writes.labels(way.kind, way.verb, "OK").inc()
        self._succeed(way)
        self._succeed(_SERVER)

    def hope(self) -> None:
        """Let what is held back try at once, one request of each kind: reads have got through again."""
        now = self._clock()
        if now - self._hoped < _HOPE_EVERY:
            return
        self._hoped = now
        self._circuits = {way: circuit.hope(now) for way, circuit in self._circuits.items()}
        for queue in self._queues:
            queue.hurry(None)

    # ---- before

    def _admit(self, way: Way, name: str, now: float) -> None:
        server, circuit = self._circuit(_SERVER), self._circuit(way)
        if now < self._paused_until:
            self._hold(way, *self._troubles[_SERVER], self._paused_until - now)
        if not server.admits(now):
            self._rest(_REST)
            self._hold(way, *self._troubles[_SERVER], max(server.until - now, _REST))
        if not circuit.admits(now):
            self._hold(way, *self._troubles[way], max(circuit.until - now, self._turn(way, name)))

    def _hold(self, way: Way, verdict: Verdict, text: str, seconds: float) -> None:
        self.metrics.held_back.labels(way.kind, way.verb).inc()
        raise HeldBack(text, verdict, seconds)

    def _turn(self, way: Way, name: str) -> float:
        """Return when an object is to ask again: the more there are, the later, as each time it is planned anew."""
        held = self._held.setdefault(way, set())
        held.add(name)
        return min(len(held) * _ASK_EVERY, _ASK_AT_LEAST) * random.uniform(0.5, 1.0)  # noqa: S311 - only spreads load

    # ---- after

    def _learn(self, way: Way, name: str, error: KubeError) -> None:
        verdict = judge(error)
        if isinstance(error, NotLeader):  # it may not even have been sent: nothing is learned
            for item in (way, _SERVER):
                self._give_up(item, name)
            return
        if verdict.situation is Situation.OVERLOAD:
            self._pause(verdict, error)
        elif verdict.blame is Blame.SERVER:
            self._fail(_SERVER, name, error)
            self._give_up(way, name)
            return
        if verdict.situation is Situation.NO_ANSWER:
            self._give_up(_SERVER, name)
        else:
            self._succeed(_SERVER)
        match verdict.blame:
            case Blame.WAY:
                self._fail(way, name, error)
            case Blame.SERVER:
                self._give_up(way, name)
            case Blame.OBJECT:
                self._succeed(way)

    def _pause(self, verdict: Verdict, error: KubeError) -> None:
        """Make no write for as long as the API server asks: it has more than enough to do."""
        asked = asked_wait(error)
        seconds = asked if asked is not None else 1.0
        self._troubles[_SERVER] = verdict, f"the API server is overloaded: {error}"
        self._paused_until = max(self._paused_until, self._clock() + seconds)
        self._rest(seconds)

    def _fail(self, way: Way, name: str, error: KubeError) -> None:
        verdict, now, before = judge(error), self._clock(), self._circuit(way)
        backoff = _SERVER_PROBES if way is _SERVER else _PROBES_OF.get(verdict.situation, _PROBES[verdict.reaction])
        wait = backoff.delay(before.openings, random.random())  # noqa: S311 - only spreads load
        after = before.fail(name, now=now, wait=wait, asked=asked_wait(error) or 0.0)
        self._settle(way, after)
        if after.openings > before.openings:
            self._open(way, after, verdict, error, backoff)

    def _open(self, way: Way, circuit: Circuit, verdict: Verdict, error: KubeError, backoff: Backoff) -> None:
        """Say it once, with the first error of its kind: what varies by object would make a new status each time."""
        known = self._troubles.get(way)
        if circuit.openings == 1 or known is None or known[0].situation is not verdict.situation:
            text = f"{way} are held back, as several in a row failed; one is tried at least every {backoff.cap:g} s: {error}"
            self._troubles[way] = verdict, text
            logger.warning(text)
        if circuit.openings == 1:
            self.metrics.circuits_opened.labels(way.kind, way.verb).inc()
        if way is _SERVER:
            self._rest(circuit.until - self._clock())

    def _succeed(self, way: Way) -> None:
        before = self._circuit(way)
        self._settle(way, before.succeed())
        if before.openings:
            logger.info("%s go through again", way)
            for queue in self._queues:
                queue.hurry(None if way is _SERVER else way.namespace)

    def _give_up(self, way: Way, name: str) -> None:
        self._settle(way, self._circuit(way).give_up(name))

    def _settle(self, way: Way, circuit: Circuit) -> None:
        if circuit.is_idle:
            self._circuits.pop(way, None)
            self._held.pop(way, None)
        else:
            self._circuits[way] = circuit
        if not circuit.openings and way is not _SERVER:
            self._troubles.pop(way, None)

    def _circuit(self, way: Way) -> Circuit:
        return self._circuits.get(way, _CLOSED)

    def _rest(self, seconds: float) -> None:
        for queue in self._queues:
            queue.rest(seconds)


_CLOSED: Final = Circuit()
