"""A proxy between the operator and the API server that breaks what a test asks it to break."""

from __future__ import annotations

import contextlib
import ssl
from pathlib import Path
from types import TracebackType
from typing import Self

from controlplane.loop_thread import LoopThread
from controlplane.ports import free_port
from controlplane.server import ControlPlane
from faults.journal import Entry
from faults.relay import Relay
from faults.rules import EventRule, Rule
from faults.stream import Order

PORT_TRIES = 5


class FaultProxy:
    """
    Listens on a loopback `port` and passes requests on to `target`, until a rule says otherwise.

    It terminates TLS and forwards the bearer token, so it sees who asks for what; `journal` has every request.
    """

    def __init__(
        self, target: str, *, serve: ssl.SSLContext | None = None, trust: ssl.SSLContext | None = None
    ) -> None:
        self.port = 0
        self._relay = Relay(target, serve=serve, trust=trust)
        self._loop = LoopThread("fault proxy")

    @classmethod
    def before(cls, plane: ControlPlane) -> FaultProxy:
        """Return a proxy for a control plane; it shows the API server's own certificate, so clients trust it."""
        serve = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        serve.load_cert_chain(plane.ca_file, plane.key_file)
        return cls(plane.url, serve=serve, trust=ssl.create_default_context(cafile=str(plane.ca_file)))

    def __enter__(self) -> Self:
        self._loop.start()
        try:
            self._loop.run(self._relay.prepare())
            self.port = self._listen()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Reset all connections and stop listening."""
        self._loop.run(self._relay.shut())
        self._loop.stop()

    def kubeconfig(self, plane: ControlPlane, base: Path) -> Path:
        """Return a copy of a kubeconfig that goes through this proxy."""
        return plane.kubeconfig_through(self.port, base)

    @property
    def journal(self) -> list[Entry]:
        """Every request so far, oldest first; a copy."""
        return list(self._relay.journal)

    def forget(self) -> None:
        """Begin the journal anew."""
        self._loop.ask(self._relay.journal.clear)

    def add(self, rule: Rule) -> Rule:
        """Break requests; the rule counts whom it has hit."""
        self._loop.ask(lambda: self._relay.rules.append(rule))
        return rule

    def treat(self, rule: EventRule) -> EventRule:
        """Treat events of watches; the rule counts them."""
        self._loop.ask(lambda: self._relay.event_rules.append(rule))
        return rule

    def heal(self) -> None:
        """Break nothing from now on; events that are held stay so until `release`."""
        self._loop.ask(self._relay.rules.clear)
        self._loop.ask(self._relay.event_rules.clear)

    def cut(self, resource: str = "") -> int:
        """Reset the open watches of a resource, or all, and return how many there were."""
        return self._order(resource, Order.CUT)

    def cut_line(self, resource: str = "") -> int:
        """Reset them in the middle of a line."""
        return self._order(resource, Order.CUT_LINE)

    def expire(self, resource: str = "") -> int:
        """End them with an ERROR event that says 410: the version is too old to go on from."""
        return self._order(resource, Order.EXPIRE)

    def silence(self, resource: str = "") -> int:
        """Pass nothing on and close nothing, as where the other side has vanished from the network."""
        return self._order(resource, Order.SILENCE)

    def release(self, resource: str = "") -> int:
        """Pass on the events that are held, after all that has passed meanwhile."""
        return self._order(resource, Order.RELEASE)

    def watches(self, resource: str = "") -> int:
        """Return how many watches are open."""
        return self._loop.ask(lambda: sum(resource in ("", stream.call.resource) for stream in self._relay.streams))

    def _order(self, resource: str, order: Order) -> int:
        return self._loop.ask(lambda: self._relay.order(resource, order))

    def _listen(self) -> int:
        """Listen on a free port; someone may have been faster, so try a few."""
        for _ in range(PORT_TRIES - 1):
            with contextlib.suppress(OSError):
                return self._loop.run(self._relay.listen(free_port()))
        return self._loop.run(self._relay.listen(free_port()))
