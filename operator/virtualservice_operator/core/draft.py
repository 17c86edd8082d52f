"""
What a VirtualService says before it is stamped: the operator's own rules, or what the policies' template makes of them.

    template               rendered                          comes to
    (none)                 -                                 the operator's rules
    developerRoutes        per developer with a copy         rules in place of those of that developer
    virtualService         once, with the rules as values    the whole spec
      per Developer        once per developer with a copy    equal but for http; the rules are put together
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from virtualservice_operator.core.blocks import Templated
from virtualservice_operator.core.contest import TargetKind
from virtualservice_operator.core.objects import Key
from virtualservice_operator.core.routes import Rule, Sections, WrittenRule
from virtualservice_operator.core.template import (
    BYTES,
    DEVELOPER_ROUTES,
    RULES,
    VIRTUAL_SERVICE,
    Metered,
    Render,
    Rendered,
    Renders,
)
from virtualservice_operator.core.template_variables import Led, Scene
from virtualservice_operator.core.wording import stored_length
from virtualservice_operator.printable import shown

# Characters of all variables that one Service's renderings are given.
VARIABLES_LIMIT: Final = 4 * 1024 * 1024
_QUOTED: Final = 80
_ordered: Final = json.JSONEncoder(separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode
# Stand in for a developer where nobody has a copy: what comes out for one and not for the other is about a developer.
# They have no character in common and not the same length, so that no part of them is equal either.
NOBODIES: Final = ("vso-nobody-3f9a", "hermit27")


@dataclass(frozen=True, slots=True)
class _Limits:
    """What the rules for all developers may come to, in number and in bytes as JSON; `when` in words."""

    rules: int
    size: int
    when: str = ""


# What the renderings of all policies for one Service may come to: those in mode Observe and those that fail are among them.
_OF_ALL_POLICIES: Final = _Limits(8 * RULES, 4 * BYTES)
# Before equal rules are written once: looking at each takes time.
_GATHERED: Final = _Limits(4 * RULES, 2 * BYTES, " before equal ones are written once")
_WRITTEN: Final = _Limits(RULES, BYTES)


@dataclass(frozen=True, slots=True)
class Made:
    """What came of a rendering."""

    render: Render
    rendered: Rendered


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of the result that a template made: where it stands in the result, and the rendering it comes from."""

    path: str
    render: Render
    origin: str


@dataclass(frozen=True, slots=True)
class Draft:
    """
    A spec, the labels and annotations that a template adds, and which parts come from a template.

    `renders` has what the renderings came to: for where a part comes from, which is asked only when something is wrong.
    """

    spec: dict[str, Any]
    metadata: Mapping[str, Any] = field(default_factory=dict)
    parts: tuple[Part, ...] = ()
    renders: Renders = field(default_factory=dict, repr=False)

    def place(self, path: str) -> str:
        """Return where in the template a field of the spec comes from, in words; '' where the operator wrote it."""
        fitting = [part for part in self.parts if path.startswith(part.path)]
        if not fitting:
            return ""
        part = max(fitting, key=lambda item: len(item.path))
        made = self.renders.get(part.render)
        return made.place(part.origin + path[len(part.path) :]) if isinstance(made, Rendered) else "template"


class NeedsRenders(Exception):  # noqa: N818 - it says what happened
    """The draft cannot be made before these are rendered."""

    def __init__(self, renders: Sequence[Render]) -> None:
        super().__init__(f"{len(renders)} renderings")
        self.renders = tuple(renders)


class TemplateFails(Exception):  # noqa: N818 - it says what happened
    """The template comes to nothing for this Service, in words for its author."""


def make_draft(scene: Scene, renders: Metered) -> Draft:
    """Return the operator's rules, or what the template makes of them. Errors: `NeedsRenders`, `TemplateFails`."""
    templated = scene.blocks.templated
    if templated is None:
        return own_draft(scene)
    rendering, sections, parts = _Rendering(scene, templated, renders), scene.sections, list[Part]()
    if templated.template.has_developer_routes:
        sections, parts = _with_developer_routes(rendering)
    if not templated.template.has_virtual_service:
        return Draft(_spec(scene, sections), {}, tuple(parts), renders)
    if templated.template.per_developer:
        return _per_developer(rendering)
    # Without the variables of a developer: they would have to be somebody's, and the template's author gets to know the line.
    values = {"DeveloperRules": list(sections.explicit())}
    (made,) = rendering.each(VIRTUAL_SERVICE, [values], scene=replace(scene, sections=sections))
    spec = {**_scope(scene), **made.rendered.document["spec"]}
    return Draft(spec, _metadata(made.rendered), (Part("", made.render, ""),), renders)


def own_draft(scene: Scene) -> Draft:
    """Return the operator's rules."""
    return Draft(_spec(scene, scene.sections))


def _spec(scene: Scene, sections: Sections) -> dict[str, Any]:
    return {"hosts": [scene.own_host], **_scope(scene), "http": list(sections.all_rules())}


def _scope(scene: Scene) -> dict[str, Any]:
    """
    Return who follows the VirtualService, if a policy says so.

    Source: Istio's webhook takes `.` and the namespace's own name for the same, and refuses both in one list.
    """
    scopes = scene.blocks.export_to
    own = scene.service.key.namespace if "." in scopes else None
    return {"exportTo": [scope for scope in scopes if scope != own]} if scopes else {}


class _Rendering:
    """Asks for renderings of one scene; those that are not there yet are asked for together."""

    def __init__(self, scene: Scene, templated: Templated, renders: Metered) -> None:
        self.scene = scene
        self.renders = renders
        self._templated = templated
        self._draft = object()

    def each(
        self,
        entry: str,
        values: Sequence[Mapping[str, Any]],
        limits: _Limits = _GATHERED,
        scene: Scene | None = None,
    ) -> Iterator[Made]:
        """
        Yield what the template comes to with each of these values beside those of the scene, one at a time.

        What is known is counted, also where something before it is missing: what is too much already needs no more of them.
        """
        is_too_much = self.renders.rules > _OF_ALL_POLICIES.rules or self.renders.size > _OF_ALL_POLICIES.size
        policy, template = self._templated.policy.policy, self._templated.template
        missing, count = dict[Render, None](), _Count(entry, len(values), limits)
        for text in self._variables(entry, values, scene or self.scene):
            render = Render(policy.key, policy.uid, policy.generation, template, entry, text)
            if is_too_much and not self.renders.is_counted(render):
                raise TemplateFails(
                    f"template {entry}: the templates of all policies of the Service come to more than {_OF_ALL_POLICIES.rules} "
                    f"rules, or {_OF_ALL_POLICIES.size >> 20} MiB as JSON; let fewer policies, also in mode Observe, have one"
                )
            result = self.renders.get(render) if render not in missing else None
            if isinstance(result, Rendered):
                sizes = [stored_length(_ordered(rule)) for rule in _rules_in(result.document)]
                self.renders.count(render, sizes, self._draft)
                for size in sizes:
                    count.add(size)
                if not missing:
                    yield Made(render, result)
            elif result is None:
                missing[render] = None
            elif not missing:
                raise TemplateFails(result.message)
        if missing:
            raise NeedsRenders(tuple(missing))

    def _variables(self, entry: str, values: Sequence[Mapping[str, Any]], scene: Scene) -> list[str]:
        """Return the variables of each rendering as text; all of them are in memory at once, so they are bounded."""
        texts, size = list[str](), 0
        for more in values:
            texts.append(scene.variables(self._templated.template, more))
            size += len(texts[-1])
            if size > VARIABLES_LIMIT:
                raise TemplateFails(
                    f"template {entry}: the variables of its {len(values)} renderings come to more than "
                    f"{VARIABLES_LIMIT >> 20} MiB; mention fewer of them, such as ServiceAnnotations or Developers"
                )
        return texts

    def developer(self, name: str, key: Key) -> dict[str, Any]:
        """Return the variables of a developer whose requests go to a Service."""
        return {"DeveloperName": name, "DeveloperNamespace": key.namespace, "DeveloperHost": self.scene.host(key)}

    def nobodies(self) -> list[dict[str, Any]]:
        """Return the variables of two who are not there."""
        return [self.developer(name, Key(name, self.scene.service.key.name)) for name in NOBODIES]


class _Count:
    """Rules for all developers, counted until they are too many or too much for one VirtualService."""

    def __init__(self, entry: str, developers: int, limits: _Limits) -> None:
        self._what = f"template {entry}: its rules for all {developers} developers"
        self._limits = limits
        self._number = self._size = 0

    def add(self, size: int) -> None:
        """Count a rule, by its bytes as JSON."""
        self._number += 1
        self._size += size
        if self._number > self._limits.rules:
            self._refuse(f"are more than {self._limits.rules}")
        if self._size > self._limits.size:
            self._refuse(f"come to more than {self._limits.size >> 20} MiB as JSON")

    def _refuse(self, how: str) -> None:
        raise TemplateFails(
            f"{self._what} {how}{self._limits.when}; write fewer and shorter ones for each developer, with several matches in "
            "one rule"
        )


def _metadata(rendered: Rendered) -> dict[str, Any]:
    found: dict[str, Any] = rendered.document.get("metadata") or {}
    return found


def _rules_in(document: Any) -> Sequence[Rule]:
    """Return the rules of what either text of a template came to."""
    found: Sequence[Rule] = document if isinstance(document, list) else document["spec"]["http"]
    return found


# ---- developerRoutes


def _with_developer_routes(rendering: _Rendering) -> tuple[Sections, list[Part]]:
    """Return the sections with the rendered rules in place of those of each developer who has a copy."""
    scene = rendering.scene
    own = _rules_of(scene.sections.developers)
    led = [item for item in scene.led() if _whose(item) in own]
    values = [
        {**rendering.developer(item.developer, item.key), "DeveloperRules": [rule.rule for rule in own[_whose(item)]]}
        for item in led
    ]
    made = dict(zip(map(_whose, led), rendering.each(DEVELOPER_ROUTES, values, _WRITTEN), strict=True))
    rules: list[tuple[WrittenRule, Render | None, int]] = []
    for rule in scene.sections.developers:
        whose = (rule.policy, rule.developer)
        if rule.kind is not TargetKind.COPY or whose not in made:
            rules.append((rule, None, 0))
        elif rule is own[whose][0]:
            rules.extend(_rendered_rules(rule, made[whose]))
    ordered = sorted(rules, key=lambda item: item[0].by_source)
    parts = [
        Part(f"spec.http[{index}]", render, f"[{origin}]")
        for index, (_, render, origin) in enumerate(ordered)
        if render
    ]
    return replace(scene.sections, developers=tuple(rule for rule, _, _ in ordered)), parts


def _whose(led: Led) -> tuple[str, str]:
    return (led.policy, led.developer)


def _rules_of(rules: Sequence[WrittenRule]) -> dict[tuple[str, str], list[WrittenRule]]:
    """Return the rules that lead to copies, by policy and developer."""
    found: dict[tuple[str, str], list[WrittenRule]] = {}
    for rule in rules:
        if rule.kind is TargetKind.COPY:
            found.setdefault((rule.policy, rule.developer), []).append(rule)
    return found


def _rendered_rules(first: WrittenRule, made: Made) -> Iterator[tuple[WrittenRule, Render, int]]:
    """Yield a developer's rules, each with a name; those that only look at the caller's namespace stand after all others."""
    rendered = made.rendered
    for index, rule in enumerate(rendered.document):
        if not _is_selective(rule):
            raise TemplateFails(
                f"{rendered.place(f'[{index}]')}: [{index}]: the rule takes every request of a port, whoever makes it; give "
                "it a match that names the developer, such as DeveloperRules[0].match has it"
            )
        by_source = all("sourceNamespace" in match and "headers" not in match for match in rule["match"])
        named = {"name": f"{first.policy}.{first.developer}", **rule}
        yield replace(first, rule=named, by_source=by_source), made.render, index


def _is_selective(rule: Rule) -> bool:
    """Tell whether a rule takes some requests of a port only."""
    matches = rule.get("match") or ()
    return bool(matches) and all(map(narrowing, matches))


def narrowing(match: Mapping[str, Any]) -> frozenset[str]:
    """
    Return the fields of a match that leave requests of its port out.

    An empty mapping leaves none out, nor does the beginning that every path has, nor the one gateway that is permitted.
    """
    filled = {key for key, value in match.items() if value not in ({}, {"prefix": "/"})}
    return frozenset(filled - {"port", "name", "gateways", "ignoreUriCase"})


# ---- renderPer: Developer


def _per_developer(rendering: _Rendering) -> Draft:
    """Return what the renderings for each developer come to together; with no copy, what is left without anybody."""
    scene = rendering.scene
    led = scene.led()
    whom = [rendering.developer(item.developer, item.key) for item in led] or rendering.nobodies()
    values = [{**item, "DeveloperRules": list(scene.sections.explicit())} for item in whom]
    made = rendering.each(VIRTUAL_SERVICE, values)
    joined = _joined_for(made, [item.developer for item in led]) if led else _joined_for_nobody(*made)
    return joined.draft(scene, rendering.renders)


def _joined_for(made: Iterable[Made], developers: Sequence[str]) -> "_Joined":
    joined = _Joined(developers)
    for item in made:
        joined.add(item)
    return joined


def _joined_for_nobody(made: Made, other: Made) -> "_Joined":
    """Return the rules that are equal for two who are not there, so that none is about a developer."""
    for path, ours, theirs in _outside_http(made.rendered.document, other.rendered.document):
        if ours != theirs:
            raise TemplateFails(
                f"{made.rendered.place(path)}: {path} depends on the developer; with renderPer: Developer only the rules of http "
                "may"
            )
    joined = _Joined(NOBODIES[:1])
    joined.add(made, only=frozenset(map(_ordered, _rules_in(other.rendered.document))))
    if joined.is_empty:
        raise TemplateFails(
            "template virtualService: where nobody has a copy no rule is left; end with a rule without match that leads to "
            "{{ ServiceFQDN }}"
        )
    return joined


class _Joined:
    """
    The rules with a match, one developer's after the other's, then those that take every request of a port.

    Equal rules are written once. Catch-alls that differ would hide each other.
    """

    def __init__(self, developers: Sequence[str]) -> None:
        self._developers = developers
        self._count = _Count(VIRTUAL_SERVICE, len(developers), _WRITTEN)
        self._first: Made | None = None
        self._taken = 0
        self._known: set[str] = set()
        self._selective: list[tuple[Rule, Render, int]] = []
        self._catching: list[tuple[Rule, Render, int]] = []

    @property
    def is_empty(self) -> bool:
        """Tell whether no rule was taken."""
        return not self._known

    def add(self, made: Made, only: frozenset[str] | None = None) -> None:
        """Take the next developer's rules, all or only these."""
        if self._first is None:
            self._first = made
        else:
            _require_equal(self._first.rendered, made.rendered, self._developers[0], self._developers[self._taken])
        for index, rule in enumerate(_rules_in(made.rendered.document)):
            text = _ordered(rule)
            if text not in self._known and (only is None or text in only):
                self._known.add(text)
                self._count.add(stored_length(text))
                self._place(made, index, rule)
        self._taken += 1

    def _place(self, made: Made, index: int, rule: Rule) -> None:
        if _is_selective(rule):
            self._selective.append((rule, made.render, index))
        elif not self._taken:
            self._catching.append((rule, made.render, index))
        else:
            raise TemplateFails(
                f"{made.rendered.place(f'spec.http[{index}]')}: spec.http[{index}] takes every request of a port and differs "
                f"between {self._developers[0]} and {self._developers[self._taken]}; give it a match, or make it equal for all"
            )

    def draft(self, scene: Scene, renders: Renders) -> Draft:
        """Return what all rules come to."""
        if self._first is None:
            raise ValueError("nothing was rendered")
        kept = [*self._selective, *self._catching]
        parts = [Part("", self._first.render, "")]
        parts += [Part(f"spec.http[{i}]", render, f"spec.http[{origin}]") for i, (_, render, origin) in enumerate(kept)]
        document = self._first.rendered.document
        spec = {**_scope(scene), **document["spec"], "http": [rule for rule, _, _ in kept]}
        return Draft(spec, _metadata(self._first.rendered), tuple(parts), renders)


def _require_equal(first: Rendered, other: Rendered, one: str, another: str) -> None:
    """Refuse templates that say something different for each developer outside http: there is one VirtualService."""
    for path, ours, theirs in _outside_http(first.document, other.document):
        if ours != theirs:
            raise TemplateFails(
                f"{first.place(path)}: {path} is {shown(ours, _QUOTED)} for {one} and {shown(theirs, _QUOTED)} for {another}; with "
                "renderPer: Developer only the rules of http may differ"
            )


def _outside_http(first: Any, other: Any) -> Iterator[tuple[str, Any, Any]]:
    specs = (first["spec"], other["spec"])
    for key in sorted({*first, *other} - {"spec"}):
        yield key, first.get(key), other.get(key)
    for key in sorted({*specs[0], *specs[1]} - {"http"}):
        yield f"spec.{key}", specs[0].get(key), specs[1].get(key)
