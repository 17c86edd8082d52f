"""
What a policy's template is to the planner: which renderings it takes, as values, and what can come of one.

The planner renders nothing. It says what it needs; who called it has that rendered, and asks again with the results.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from virtualservice_operator.api.v1alpha1 import PolicyTemplate
from virtualservice_operator.core.objects import Key

# So many rules a VirtualService has at the most that a template makes, and so many bytes as JSON; the API server takes 1.5 MiB.
RULES: Final = 1024
BYTES: Final = 1024 * 1024
# So many renderings are asked for at once, and after so many bytes of what they come to the planner looks at them.
AT_ONCE: Final = 8
LOOK_AT: Final = 512 * 1024
VIRTUAL_SERVICE: Final = "virtualService"
DEVELOPER_ROUTES: Final = "developerRoutes"
# Variables that say the whole Service, so that once is enough.
_OF_A_SERVICE: Final = frozenset(
    {"Developers", "DeveloperRules", "SourceRules", "UnknownRules", "DefaultRules", "DefaultRule"}
)
_OF_A_DEVELOPER: Final = frozenset({"DeveloperName", "DeveloperNamespace", "DeveloperHost"})
# What the built-in base prints.
_OF_BASE: Final = frozenset(
    {"ServiceName", "ServiceNamespace", "ServiceFQDN", "DeveloperRules", "SourceRules", "UnknownRules", "DefaultRules"}
)
_OTHERS: Final = frozenset({"ClusterDomain", "ServiceLabels", "ServiceAnnotations", "ServicePorts", "PolicyName"})
_ALL: Final = _OF_A_SERVICE | _OF_A_DEVELOPER | _OF_BASE | _OTHERS
_WORD: Final = re.compile(r"[A-Za-z]+")
# `base` can be extended, included and read as a fragment, with and without brackets; a variable too many does no harm.
_NAMES_BASE: Final = re.compile(r"[\"']base[\"']")
_EXTENDS_BASE: Final = re.compile(r"\{%[-+]?\s*extends[\s(]*[\"']base[\"']")
# No field of a VirtualService has a longer one, but for keys that nobody knows.
_LONGEST_PATH: Final = 1024
_ordered: Final = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Template:
    """
    The texts of a policy's template.

    `digest` stands for all of them; `sources` are the entries, `virtualService` and `developerRoutes`, and the includes by
    name. `words` are the variables that occur in them: one that is not mentioned is not given.
    """

    digest: str
    sources: tuple[tuple[str, str], ...]
    words: frozenset[str]
    per_developer: bool

    @property
    def has_virtual_service(self) -> bool:
        """Tell whether it makes the whole VirtualService."""
        return any(name == VIRTUAL_SERVICE for name, _ in self.sources)

    @property
    def has_developer_routes(self) -> bool:
        """Tell whether it makes the rules of developers."""
        return any(name == DEVELOPER_ROUTES for name, _ in self.sources)

    def mentions(self, *names: str) -> bool:
        """Tell whether any of these words occurs."""
        return not self.words.isdisjoint(names)


@dataclass(frozen=True, slots=True)
class Render:
    """
    One rendering that is needed, or, without `entry`, a check of the texts.

    `policy`, `uid` and `generation` say on whose account; two policies with equal texts are two.
    """

    policy: Key
    uid: str
    generation: int
    template: Template
    entry: str | None = None
    variables: str = ""


@dataclass(frozen=True, slots=True)
class Rendered:
    """What a rendering came to; `lines` has the template and line of each field, as far as they are known."""

    document: Any
    lines: Mapping[str, tuple[str, int]]

    def place(self, path: str) -> str:
        """Return where in the template a field comes from, in words."""
        path = path[:_LONGEST_PATH]
        while path:
            found = self.lines.get(path)
            if found is not None:
                return f"template {found[0]}, line {found[1]}"
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return "template"


@dataclass(frozen=True, slots=True)
class Failed:
    """A rendering that came to nothing, in words for its author; `killed`: it was stopped, and may be tried again."""

    message: str
    killed: bool = False


Result = Rendered | Failed
Renders = Mapping[Render, Result]


class Metered(Mapping[Render, Result]):
    """
    Results for one plan, and how many rules, and bytes of rules, have been looked at in them, for all policies.

    A rendering counts for the draft that is the first to look at it: those in force are looked at again for each policy in
    mode Observe. There it counts for every developer for whom it comes to the same.
    """

    def __init__(self, known: Renders) -> None:
        self._known = known
        self._counted: dict[Render, object] = {}
        self.rules = self.size = 0

    def is_counted(self, render: Render) -> bool:
        """Tell whether a rendering's rules are among those that were looked at."""
        return render in self._counted

    def count(self, render: Render, rules: Sequence[int], draft: object) -> None:
        """Count the rules of a rendering, each by its bytes, unless another draft has counted them."""
        if self._counted.setdefault(render, draft) is draft:
            self.rules += len(rules)
            self.size += sum(rules)

    def __getitem__(self, render: Render) -> Result:
        return self._known[render]

    def __iter__(self) -> Iterator[Render]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)


class Held(Mapping[Render, Result]):
    """
    What renderings came to, as text: each is decoded when it is looked at. Many developers lead to many of them.

    `known` has what was rendered before.
    """

    def __init__(self, known: Renders) -> None:
        self._known = known
        self._kept: dict[Render, bytes] = {}
        self._gathered = 0
        self.was_killed = False

    def __getitem__(self, render: Render) -> Result:
        kept = self._kept.get(render)
        return self._known[render] if kept is None else decode(kept)

    def __iter__(self) -> Iterator[Render]:
        raise TypeError("renderings are asked for, not listed")

    def __len__(self) -> int:
        return len(self._kept)

    def put(self, render: Render, result: Result) -> None:
        """Keep a result."""
        self._kept[render] = data = encode(result)
        if isinstance(result, Failed):
            self.was_killed |= result.killed
            self._gathered = LOOK_AT
        else:
            self._gathered += len(data)

    def are_enough(self) -> bool:
        """Tell whether the planner should look before more is rendered: one failed, or they are much. Then it begins anew."""
        if self._gathered < LOOK_AT:
            return False
        self._gathered = 0
        return True


def parts_of(needs: Sequence[Render]) -> Iterator[Sequence[Render]]:
    """Yield so many renderings as are asked for at once, one after the other."""
    return (needs[start : start + AT_ONCE] for start in range(0, len(needs), AT_ONCE))


def encode(result: Result) -> bytes:
    """Return what a rendering came to as text: as objects it takes ten times as much."""
    held: Any = (
        {"message": result.message, "killed": result.killed}
        if isinstance(result, Failed)
        else (result.document, result.lines)
    )
    return json.dumps(held, ensure_ascii=False).encode("utf-8", "surrogatepass")


def decode(data: bytes) -> Result:
    """Return what `encode` made text of."""
    held = json.loads(data.decode("utf-8", "surrogatepass"))
    if isinstance(held, dict):
        return Failed(**held)
    document, lines = held
    return Rendered(document, {path: (name, line) for path, (name, line) in lines.items()})


def variables_text(values: Mapping[str, Any]) -> str:
    """Return variables as text; their order is that of the code, so equal values are equal texts."""
    return _ordered(values)


def _variables_in(texts: Iterable[str]) -> frozenset[str]:
    return _ALL.intersection(word for text in texts for word in _WORD.findall(text))


@lru_cache(maxsize=1024)
def template_of(written: PolicyTemplate) -> Template:
    """Return the template that a policy wrote."""
    entries = ((VIRTUAL_SERVICE, written.virtual_service), (DEVELOPER_ROUTES, written.developer_routes))
    sources = (
        *((name, text) for name, text in entries if text is not None),
        *((include.name, include.content) for include in written.includes or ()),
    )
    texts = [text for name, text in sources if name != DEVELOPER_ROUTES]
    extends_base = any(_EXTENDS_BASE.search(text) for _, text in sources)
    names_base = any(_NAMES_BASE.search(text) for _, text in sources)
    words = _variables_in(text for _, text in sources) | (_OF_BASE if names_base else frozenset())
    shared = _variables_in(texts)
    per_service = extends_base or not shared.isdisjoint(_OF_A_SERVICE)
    by_default = not per_service and not shared.isdisjoint(_OF_A_DEVELOPER)
    return Template(
        digest=hashlib.blake2b(_ordered(sources).encode(), digest_size=16).hexdigest(),
        sources=sources,
        words=words,
        per_developer=written.virtual_service is not None
        and (by_default if written.render_per is None else written.render_per == "Developer"),
    )
