"""What the operator needs from the API server and does not get, since when; readiness and a metric are made from it."""

import logging
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Final

from virtualservice_operator.kube.errors import ApiError, KubeError
from virtualservice_operator.kube.lease import Access, Election

logger = logging.getLogger(__name__)

# A watch that is down for a moment is everyday life; one that is down for this long means that we act on old news.
LASTING_SECONDS: Final = 30.0
_DOING: Final[Mapping[Access, str]] = {"read": "reading", "write": "writing"}


class Outages:
    """Remembers since when something is down, and why. `clock` only goes forward."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._down: dict[str, tuple[float, str]] = {}

    def report(self, what: str, trouble: str | None) -> None:
        """Hear that something does not work, or that it does (None)."""
        if trouble is None:
            self._down.pop(what, None)
        else:
            since, _ = self._down.get(what, (self._clock(), ""))
            self._down[what] = (since, trouble)

    def seconds(self, what: str) -> float:
        """Return for how long something has been down; 0 while it works."""
        found = self._down.get(what)
        return self._clock() - found[0] if found is not None else 0.0

    @property
    def lasting(self) -> list[str]:
        """Return what has been down for half a minute or more, and why, for readiness."""
        return [
            f"{what}: down for {self.seconds(what):.0f} s: {trouble}"
            for what, (_, trouble) in self._down.items()
            if self.seconds(what) >= LASTING_SECONDS
        ]


class LeaseTrouble:
    """Hears how the elector fares, and says once what is new about it. Who can read the Lease may not be able to write it."""

    def __init__(self, election: Election, outages: Outages) -> None:
        self._lease = election.lease
        self._outages = outages
        self._texts: dict[Access, str] = {}

    def report(self, access: Access, error: KubeError | None) -> None:
        """Hear of trouble with reading or writing the Lease, or that there is none (any more)."""
        text = None if error is None else self._describe(access, error)
        self._outages.report(f"Lease ({access})", text)
        before = self._texts.pop(access, None)
        if text is not None:
            self._texts[access] = text
            if text != before:
                logger.warning(text)
        elif before is not None:
            logger.info("Lease %s: the trouble with %s it is over", self._lease, _DOING[access])

    def _describe(self, access: Access, error: KubeError) -> str:
        remedy = ""
        if isinstance(error, ApiError) and error.status == HTTPStatus.FORBIDDEN:
            remedy = "; grant it: kubectl apply -k kustomize/base"
        elif isinstance(error, ApiError) and error.status == HTTPStatus.NOT_FOUND:
            remedy = f"; create namespace {self._lease.namespace}, or name another with --namespace"
        alone = ", or, where only one process runs, give --no-leader-election" if remedy else ""
        return f"cannot {access} Lease {self._lease}: {error}{remedy}{alone}"
