"""
A queue of keys: each at most once, fair between namespaces, with delays.

    add ----> waiting (round robin over namespaces) --get--> active --done--> gone
               ^                                      |
               +------ added again while active ------+
    add_after: joins `waiting` when its time has come; an earlier time replaces a later one

    stand_by: takes no marks          pause: takes marks          open: hands keys out

After client-go's util/workqueue, with the fairness added: ten thousand Services of one namespace must not make the
single change of another wait.
"""

import asyncio
import heapq
from collections import OrderedDict, deque

from virtualservice_operator.core.objects import Key


class KeyQueue:
    """Hands each key to one worker at a time, once it is open. All calls come from one event loop."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, deque[Key]] = OrderedDict()
        self._known: set[Key] = set()
        self._active: set[Key] = set()
        self._again: set[Key] = set()
        self._later: list[tuple[float, Key]] = []
        self._due: dict[Key, float] = {}
        self._since: dict[Key, float] = {}
        self._marked: dict[Key, float] = {}
        self._begun: dict[Key, float] = {}
        self._firm: set[Key] = set()
        self._blocked: set[str] = set()
        self._resting_until = 0.0
        self._wake = asyncio.Event()
        self._takes_marks = True
        self._open = False
        self._closed = False

    def __len__(self) -> int:
        """Return how many keys wait to be worked on now."""
        return len(self._known)

    @property
    def delayed(self) -> int:
        """Return how many keys come back later."""
        return len(self._due)

    @property
    def oldest(self) -> float:
        """Return for how many seconds the key that has waited longest has waited; 0 while nothing is handed out at all."""
        return _now() - min(self._since.values()) if self._since and self._open else 0.0

    def marked_at(self, key: Key) -> float:
        """Return when the key that is being worked on was first marked since it last went through, by the loop's clock."""
        return self._begun.get(key, _now())

    @property
    def is_idle(self) -> bool:
        """Tell whether nothing waits now and nothing is being worked on; delayed keys do not count."""
        return not self._known and not self._active

    def add(self, key: Key) -> None:
        """Mark a key; marks made while it waits merge, and one made while it is active brings it back."""
        if not self._takes_marks:
            return
        self._forget_delay(key)
        self._since.setdefault(key, _now())
        self._marked.setdefault(key, _now())
        if key in self._active:
            self._again.add(key)
        elif key not in self._known:
            self._known.add(key)
            self._waiting.setdefault(key.namespace, deque()).append(key)
            self._wake.set()

    def add_after(self, key: Key, seconds: float, *, firm: bool = False) -> None:
        """Mark a key after a while, unless it is marked before then. One whose wait is `firm` is not hurried."""
        due = _now() + seconds
        if self._takes_marks and (key not in self._due or due < self._due[key]):
            self._due[key] = due
            (self._firm.add if firm else self._firm.discard)(key)
            heapq.heappush(self._later, (due, key))
            self._wake.set()

    def add_again(self, key: Key, seconds: float, *, firm: bool = False) -> None:
        """Mark the key that is being worked on after a while, as it did not go through: it counts from its first mark."""
        if self._takes_marks:
            self._marked[key] = self.marked_at(key)
            self.add_after(key, seconds, firm=firm)

    def open(self) -> None:
        """Begin to hand out keys; marks made before are kept, and wait from now."""
        self._takes_marks = self._open = True
        self._since = dict.fromkeys(self._since, _now())
        self._wake.set()

    def pause(self) -> None:
        """Hand out no keys until `open`; marks are taken."""
        self._takes_marks, self._open = True, False

    def stand_by(self) -> None:
        """Forget all marks, and take none until `pause` or `open`: then everything that there is has to be marked."""
        self._takes_marks = self._open = False
        for marks in (
            self._waiting,
            self._known,
            self._again,
            self._later,
            self._due,
            self._since,
            self._marked,
            self._firm,
        ):
            marks.clear()

    def close(self) -> None:
        """Hand out no more keys: whoever waits in `get` is told so."""
        self._closed = True
        self._wake.set()

    def rest(self, seconds: float) -> None:
        """Hand out no keys for a while: whatever is done with them would fail."""
        self._resting_until = max(self._resting_until, _now() + seconds)

    def block(self, namespace: str) -> None:
        """Hand out no keys of a namespace until `unblock`."""
        self._blocked.add(namespace)

    def unblock(self, namespace: str) -> None:
        """Hand out keys of a namespace again."""
        if namespace in self._blocked:
            self._blocked.discard(namespace)
            self._wake.set()

    def hurry(self, namespace: str | None) -> None:
        """Bring delayed keys back at once, those of one namespace or all: what they waited for has passed."""
        if namespace is None:
            self._resting_until = 0.0
        for key in [key for key in self._due if namespace in (None, key.namespace) and key not in self._firm]:
            self.add(key)
        self._wake.set()

    async def get(self) -> Key | None:
        """Return the next key; namespaces take turns. The key is active until `done`. None: the queue is closed."""
        while not self._closed:
            self._collect_due()
            namespace = self._next_namespace()
            if namespace is not None and self._open and self._resting_until <= _now():
                return self._take(namespace)
            await self._sleep()
        self._wake.set()  # for the next one who waits
        return None

    def done(self, key: Key) -> None:
        """End the work on a key."""
        self._active.discard(key)
        self._begun.pop(key, None)
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def _next_namespace(self) -> str | None:
        """Return the namespace whose turn it is; None where nothing may be handed out."""
        return next((namespace for namespace in self._waiting if namespace not in self._blocked), None)

    def _take(self, namespace: str) -> Key:
        keys = self._waiting.pop(namespace)
        key = keys.popleft()
        if keys:
            self._waiting[namespace] = keys  # to the back: the next namespace's turn
        self._known.discard(key)
        self._active.add(key)
        self._since.pop(key)
        self._begun[key] = self._marked.pop(key)
        return key

    def _forget_delay(self, key: Key) -> None:
        self._due.pop(key, None)
        self._firm.discard(key)

    def _collect_due(self) -> None:
        now = _now()
        while self._later and self._later[0][0] <= now:
            due, key = heapq.heappop(self._later)
            if self._due.get(key) == due:
                self.add(key)

    async def _sleep(self) -> None:
        self._wake.clear()
        timeouts = [self._later[0][0]] if self._later else []
        if self._next_namespace() is not None and self._open:
            timeouts.append(self._resting_until)
        timeout = max(0.0, min(timeouts) - _now()) if timeouts else None
        try:
            await asyncio.wait_for(self._wake.wait(), timeout)
        except TimeoutError:
            return


def _now() -> float:
    return asyncio.get_running_loop().time()
