"""
Renders what the planner needs: asks the worker, looks at the form of what comes out, keeps it, counts the kills.

A policy whose template ends the worker three times is not rendered again until it is changed. One whose renderings take long
makes its namespace slow: it waits in another line than the others.
"""

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final

from jsonschema.protocols import Validator

from virtualservice_operator.core.template import DEVELOPER_ROUTES, Failed, Render, Rendered, Result, decode, encode
from virtualservice_operator.printable import printable
from virtualservice_operator.templates import judge
from virtualservice_operator.templates.process import Ended, Told, Worker
from virtualservice_operator.templates.values import MESSAGE_LIMIT

KILLS_TO_QUARANTINE: Final = 3
# A rendering that takes so much CPU time, of the worker and of the operator, makes its namespace slow for a minute; what
# compiling takes is bounded by the size of the texts, and comes once for each of them.
SLOW_SECONDS: Final = 0.03
SLOW_COMPILE_SECONDS: Final = 0.2
SLOW_FOR: Final = 60.0
# So long one Service's renderings are done in a row, in seconds by the clock; then it is the turn of others.
_TURN: Final = 0.05
# So many jobs are sent at once: the child is not stopped in the middle of them, unless one of them ends it.
_MOST_AT_ONCE: Final = 16
CACHE_BYTES: Final = 16 * 1024 * 1024
# What Python takes for a key and its place in the order.
_KEY_BYTES: Final = 256
# Editions whose kills are remembered.
_EDITIONS: Final = 4096
Place = tuple[str, str | None, bytes]
Edition = tuple[Any, ...]
# What became of a rendering, for the metric: rendered, refused, killed or unavailable; and the seconds it took.
Observer = Callable[[str, float], None]


class Cache(Mapping[Render, Result]):
    """What renderings came to, by texts and variables; the oldest go when there is no room. Safe for several threads."""

    def __init__(self, limit: int = CACHE_BYTES) -> None:
        self._limit = limit
        self._kept: OrderedDict[Place, bytes] = OrderedDict()
        self._size = 0
        self._era = 0
        self._lock = threading.Lock()

    @property
    def era(self) -> int:
        """Return how often everything was forgotten."""
        return self._era

    def __getitem__(self, render: Render) -> Result:
        place = _place(render)
        with self._lock:
            data = self._kept[place]
            self._kept.move_to_end(place)
        return decode(data)

    def __iter__(self) -> Iterator[Render]:
        raise TypeError("renderings are asked for, not listed")

    def __len__(self) -> int:
        return len(self._kept)

    def put(self, render: Render, result: Result, era: int | None = None) -> None:
        """Keep a result; unless everything was forgotten since an era, when it was begun."""
        place, data = _place(render), encode(result)
        with self._lock:
            if era is not None and era != self._era:
                return
            before = self._kept.pop(place, None)
            self._size += len(data) - len(before) if before is not None else len(data) + _KEY_BYTES
            self._kept[place] = data
            while self._size > self._limit:
                _, oldest = self._kept.popitem(last=False)
                self._size -= len(oldest) + _KEY_BYTES

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._kept.clear()
            self._size = 0
            self._era += 1


class Shared:
    """
    What several renderers have in common: results, kills by edition of a policy, and which namespaces are slow.

    Safe for several threads.
    """

    def __init__(self) -> None:
        self.cache: Final = Cache()
        self._kills: OrderedDict[Edition, int] = OrderedDict()
        self._slow_until: dict[str, float] = {}
        self._lock = threading.Lock()

    def kills(self, edition: Edition) -> int:
        """Return how often an edition of a policy has ended the worker."""
        return self._kills.get(edition, 0)

    def count_kill(self, edition: Edition) -> None:
        """Count that an edition of a policy has ended the worker; what was counted longest ago is forgotten."""
        with self._lock:
            self._kills[edition] = self._kills.pop(edition, 0) + 1
            if len(self._kills) > _EDITIONS:
                self._kills.popitem(last=False)

    def is_slow(self, namespace: str) -> bool:
        """Tell whether a rendering of a namespace has taken long lately, or ended the worker."""
        return self._slow_until.get(namespace, 0.0) > time.monotonic()

    def mark_slow(self, namespace: str) -> None:
        """Note that a rendering of a namespace took long."""
        now = time.monotonic()
        with self._lock:
            others = {name: until for name, until in self._slow_until.items() if until > now}
            self._slow_until = {**others, namespace: now + SLOW_FOR}


class Renderer:
    """Not for several threads at once, but for `cache` and `use_schema`."""

    def __init__(self, worker: Worker, observe: Observer | None = None, shared: Shared | None = None) -> None:
        self.shared: Final = shared or Shared()
        self.cache: Final = self.shared.cache
        self._worker = worker
        self._observe = observe or (lambda _result, _seconds: None)
        self._installed: Validator | None = None

    def use_schema(self, installed: Any) -> None:
        """Hold what templates make against the schema of the installed VirtualService too; None where it is not known."""
        self._installed = judge.make_validator(installed) if installed is not None else None
        self.cache.clear()

    def render_some(self, needs: Sequence[Render]) -> dict[Render, Result | None]:
        """
        Return what the first of them come to, one at least; None where there is no worker.

        It ends when one took long or ended the worker, or when its turn is over; the others have not been tried.
        """
        results: dict[Render, Result | None] = {}
        asked, count, until = self._unknown(needs, results), 1, time.monotonic() + _TURN
        while some := list(islice(asked, count)):
            told = self._worker.run_some([_job(render) for render in some])
            is_heavy = [self._take(render, item, results) for render, item in zip(some, told, strict=False)]
            if any(is_heavy) or len(told) < len(some) or time.monotonic() > until:
                break
            count = min(2 * count, _MOST_AT_ONCE)
        return results

    def _unknown(self, needs: Sequence[Render], results: dict[Render, Result | None]) -> Iterator[Render]:
        """Yield what has to be rendered; what is known enters the results."""
        for render in dict.fromkeys(needs):
            known = self.cache.get(render)
            if known is not None:
                results[render] = known
            elif self.is_quarantined(render):
                results[render] = Failed(quarantine_message())
            else:
                yield render

    def is_quarantined(self, render: Render) -> bool:
        """Tell whether the policy, as it is now, has ended the worker too often."""
        return self.shared.kills(_edition(render)) >= KILLS_TO_QUARANTINE

    def close(self) -> None:
        """End the worker for good."""
        self._worker.close()

    def _take(self, render: Render, told: Told, results: dict[Render, Result | None]) -> bool:
        """Enter what came of a rendering; tell whether it took long."""
        begun = time.thread_time()
        results[render] = self._result(render, told)
        limit = SLOW_COMPILE_SECONDS if told.compiled else SLOW_SECONDS
        is_heavy = told.ended is Ended.KILLED or told.cpu + time.thread_time() - begun > limit
        if is_heavy:
            self.shared.mark_slow(render.policy.namespace)
        return is_heavy

    def _result(self, render: Render, told: Told) -> Result | None:
        if told.ended is Ended.UNAVAILABLE:
            self._observe("unavailable", told.seconds)
            return None
        if told.ended is Ended.KILLED or not isinstance(told.answer, Mapping):
            self._observe("killed", told.seconds)
            self.shared.count_kill(_edition(render))
            if self.is_quarantined(render):
                return Failed(quarantine_message(), killed=True)
            return Failed(f"template {render.entry or ''}: {_KILLED}".replace("  ", " "), killed=True)
        era = self.cache.era  # before the schema is looked at, which another thread may change meanwhile
        result = self._judge(render, told.answer)
        self._observe("rendered" if isinstance(result, Rendered) else "refused", told.seconds)
        self.cache.put(render, result, era)
        return result

    def _judge(self, render: Render, answer: Mapping[str, Any]) -> Result:
        """Return what an answer of the worker comes to; nothing in it is trusted."""
        if answer.get("ok") is not True:
            name = printable(str(answer.get("template") or render.entry or ""), 63)
            line, message = answer.get("line"), printable(str(answer.get("message")), MESSAGE_LIMIT)
            if not name:
                return Failed(message)
            return Failed(f"template {name}{f', line {line}' if isinstance(line, int) else ''}: {message}")
        if render.entry is None:
            return Rendered(None, {})
        rendered = Rendered(_with_whole_numbers(answer.get("value")), _lines(answer.get("lines")))
        found = self._problems(render.entry, rendered.document)
        if not found:
            return rendered
        return Failed("; ".join(_say(rendered.place(path), path, text) for path, text in found))

    def _problems(self, entry: str, document: Any) -> list[tuple[str, str]]:
        if entry == DEVELOPER_ROUTES:
            found = judge.problems(judge.DEVELOPER_ROUTES, document)
            spec: Any = {"hosts": ["x"], "http": document}
        else:
            found = judge.problems(judge.VIRTUAL_SERVICE, document)
            spec = document.get("spec") if isinstance(document, dict) else None
        if found or self._installed is None:
            return found
        return judge.problems(self._installed, spec, "spec")


_KILLED: Final = "rendering it took too long or too much memory, and was stopped; make it simpler"


def quarantine_message() -> str:
    """Return what is said of a policy that has ended the worker too often."""
    return (
        f"rendering the template was stopped {KILLS_TO_QUARANTINE} times, because it took too long or too much memory; it is "
        "not tried again until the policy is changed: make the template simpler"
    )


def _job(render: Render) -> dict[str, Any]:
    job: dict[str, Any] = {"digest": render.template.digest, "sources": dict(render.template.sources)}
    return job if render.entry is None else {**job, "entry": render.entry, "variables": render.variables}


def _place(render: Render) -> Place:
    variables = hashlib.blake2b(render.variables.encode(), digest_size=16).digest()
    return (render.template.digest, render.entry, variables)


def _edition(render: Render) -> Edition:
    return (render.policy, render.uid, render.generation)


def _with_whole_numbers(data: Any, known: dict[int, Any] | None = None) -> Any:
    """
    Return data with 50 for 50.0, which is how the API server stores it.

    `known` has what was converted already, by its identity: a part that stands in many places is gone through once.
    """
    known = {} if known is None else known
    if isinstance(data, float):
        return int(data) if data.is_integer() else data
    if not isinstance(data, (dict, list)):
        return data
    if id(data) not in known:
        if isinstance(data, dict):
            known[id(data)] = {key: _with_whole_numbers(value, known) for key, value in data.items()}
        else:
            known[id(data)] = [_with_whole_numbers(item, known) for item in data]
    return known[id(data)]


def _say(place: str, path: str, text: str) -> str:
    """Return a problem in words; keys and values in it are the template's."""
    return f"{printable(place)}: {printable(path)}: {printable(text, MESSAGE_LIMIT)}"


# A template, and the include that it reads as data: two names of 63 characters, and words.
_LONGEST_PLACE: Final = 160


def _lines(lines: Any) -> dict[str, tuple[str, int]]:
    if not isinstance(lines, dict):
        return {}
    return {
        str(path): (str(place[0])[:_LONGEST_PLACE], place[1])
        for path, place in lines.items()
        if isinstance(place, list) and len(place) == 2 and isinstance(place[1], int)  # noqa: PLR2004 - template, line
    }
