"""
Renders what the planner needs: asks the worker, looks at the form of what comes out, keeps it, counts the kills.

A policy whose template ends the worker three times is not rendered again until it is changed.
"""

import json
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from jsonschema.protocols import Validator

from virtualservice_operator.core.template import DEVELOPER_ROUTES, Failed, Render, Rendered, Result
from virtualservice_operator.templates import judge
from virtualservice_operator.templates.process import Ended, Told, Worker
from virtualservice_operator.templates.values import MESSAGE_LIMIT, printable

KILLS_TO_QUARANTINE: Final = 3
# A rendering that takes so long makes its namespace slow for a minute: it waits in another line than the others.
SLOW_SECONDS: Final = 0.03
SLOW_FOR: Final = 60.0
CACHE_BYTES: Final = 16 * 1024 * 1024
Place = tuple[str, str | None, str]
# What became of a rendering, for the metric: rendered, refused, killed or unavailable; and the seconds it took.
Observer = Callable[[str, float], None]


class Cache(Mapping[Render, Result]):
    """What renderings came to, by texts and variables; the oldest go when there is no room. Safe for several threads."""

    def __init__(self, limit: int = CACHE_BYTES) -> None:
        self._limit = limit
        self._kept: OrderedDict[Place, bytes] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def __getitem__(self, render: Render) -> Result:
        with self._lock:
            data = self._kept[_place(render)]
            self._kept.move_to_end(_place(render))
        return _decode(data)

    def __iter__(self) -> Iterator[Render]:
        raise TypeError("renderings are asked for, not listed")

    def __len__(self) -> int:
        return len(self._kept)

    def put(self, render: Render, result: Result) -> None:
        """Keep a result."""
        data = _encode(result)
        with self._lock:
            self._size += len(data) - len(self._kept.pop(_place(render), b""))
            self._kept[_place(render)] = data
            while self._size > self._limit:
                _, oldest = self._kept.popitem(last=False)
                self._size -= len(oldest)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._kept.clear()
            self._size = 0


class Shared:
    """
    What several renderers have in common: results, kills by edition of a policy, and which namespaces are slow.

    Safe for several threads: each entry is set by itself.
    """

    def __init__(self) -> None:
        self.cache: Final = Cache()
        self.kills: Final[Counter[tuple[Any, ...]]] = Counter()
        self._slow_until: dict[str, float] = {}

    def is_slow(self, namespace: str) -> bool:
        """Tell whether a rendering of a namespace has taken long lately."""
        return self._slow_until.get(namespace, 0.0) > time.monotonic()

    def note(self, namespace: str, seconds: float) -> None:
        """Note how long a rendering took."""
        if seconds > SLOW_SECONDS:
            now = time.monotonic()
            self._slow_until = {name: until for name, until in self._slow_until.items() if until > now}
            self._slow_until[namespace] = now + SLOW_FOR


class Renderer:
    """Not for several threads at once, but for `cache` and `use_schema`."""

    def __init__(self, worker: Worker, observe: Observer | None = None, shared: Shared | None = None) -> None:
        self.shared: Final = shared or Shared()
        self.cache: Final = self.shared.cache
        self._worker = worker
        self._observe = observe or (lambda _result, _seconds: None)
        self._kills = self.shared.kills
        self._installed: Validator | None = None

    def use_schema(self, installed: Any) -> None:
        """Hold what templates make against the schema of the installed VirtualService too; None where it is not known."""
        self._installed = judge.make_validator(installed) if installed is not None else None
        self.cache.clear()

    def render(self, needs: Sequence[Render]) -> dict[Render, Result]:
        """Return what each comes to. One that is absent could not be tried: there is no worker."""
        results: dict[Render, Result] = {}
        asked = []
        for render in dict.fromkeys(needs):
            known = self.cache.get(render)
            if known is not None:
                results[render] = known
            elif self.is_quarantined(render):
                results[render] = Failed(quarantine_message())
            else:
                asked.append(render)
        for render, told in zip(asked, self._worker.run([_job(render) for render in asked]), strict=True):
            result = self._take(render, told)
            if result is not None:
                results[render] = result
        return results

    def is_quarantined(self, render: Render) -> bool:
        """Tell whether the policy, as it is now, has ended the worker too often."""
        return self._kills[_edition(render)] >= KILLS_TO_QUARANTINE

    def close(self) -> None:
        """End the worker for good."""
        self._worker.close()

    def _take(self, render: Render, told: Told) -> Result | None:
        self.shared.note(render.policy.namespace, told.seconds)
        if told.ended is Ended.UNAVAILABLE:
            self._observe("unavailable", told.seconds)
            return None
        if told.ended is Ended.KILLED or not isinstance(told.answer, Mapping):
            self._observe("killed", told.seconds)
            self._kills[_edition(render)] += 1
            if self.is_quarantined(render):
                return Failed(quarantine_message(), killed=True)
            return Failed(f"template {render.entry or ''}: {_KILLED}".replace("  ", " "), killed=True)
        result = self._judge(render, told.answer)
        self._observe("rendered" if isinstance(result, Rendered) else "refused", told.seconds)
        self.cache.put(render, result)
        return result

    def _judge(self, render: Render, answer: Mapping[str, Any]) -> Result:
        """Return what an answer of the worker comes to; nothing in it is trusted."""
        if answer.get("ok") is not True:
            name = printable(str(answer.get("template") or render.entry or ""), 63)
            line, message = answer.get("line"), printable(str(answer.get("message")), MESSAGE_LIMIT)
            return Failed(f"template {name}, line {line}: {message}" if name and isinstance(line, int) else message)
        if render.entry is None:
            return Rendered(None, {})
        rendered = Rendered(answer.get("value"), _lines(answer.get("lines")))
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
    return (render.template.digest, render.entry, render.variables)


def _edition(render: Render) -> tuple[Any, ...]:
    return (render.policy, render.uid, render.generation)


def _say(place: str, path: str, text: str) -> str:
    """Return a problem in words; keys and values in it are the template's."""
    return f"{printable(place)}: {printable(path)}: {printable(text, MESSAGE_LIMIT)}"


def _lines(lines: Any) -> dict[str, tuple[str, int]]:
    if not isinstance(lines, dict):
        return {}
    return {
        str(path): (str(place[0])[:63], place[1])
        for path, place in lines.items()
        if isinstance(place, list) and len(place) == 2 and isinstance(place[1], int)  # noqa: PLR2004 - template, line
    }


def _encode(result: Result) -> bytes:
    if isinstance(result, Failed):
        return json.dumps({"failed": result.message}).encode()
    return json.dumps({"document": result.document, "lines": result.lines}).encode()


def _decode(data: bytes) -> Result:
    held = json.loads(data)
    if "failed" in held:
        return Failed(held["failed"])
    return Rendered(held["document"], {path: (name, line) for path, (name, line) in held["lines"].items()})
