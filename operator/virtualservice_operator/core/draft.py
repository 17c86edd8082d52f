"""
What a VirtualService says before it is stamped: the operator's own rules, or what the policies' template makes of them.

    template               rendered                          comes to
    (none)                 -                                 the operator's rules
    developerRoutes        per developer with a copy         rules in place of those of that developer
    virtualService         once, with the rules as values    the whole spec
      per Developer        once per developer with a copy    equal but for http; the rules are put together
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from virtualservice_operator.core.blocks import Templated
from virtualservice_operator.core.contest import TargetKind
from virtualservice_operator.core.objects import Key
from virtualservice_operator.core.routes import Rule, Sections, WrittenRule
from virtualservice_operator.core.template import (
    DEVELOPER_ROUTES,
    RULES,
    VIRTUAL_SERVICE,
    Failed,
    Render,
    Rendered,
    Renders,
)
from virtualservice_operator.core.template_variables import Led, Scene

# What the renderings for all developers may come to before equal rules are written once: looking at each takes time.
_RULES_BEFORE: Final = 4 * RULES
# Characters of all variables that one Service's renderings are given.
_VARIABLES_LIMIT: Final = 4 * 1024 * 1024
_ordered: Final = json.JSONEncoder(separators=(",", ":"), sort_keys=True).encode
# Stands in for a developer where nobody has a copy; rules that mention it are left out.
NOBODY: Final = "vso-nobody-3f9a"


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of the result that a template made: where it stands in the result, and the rendering it comes from."""

    path: str
    rendered: Rendered
    origin: str


@dataclass(frozen=True, slots=True)
class Draft:
    """A spec, the labels and annotations that a template adds, and which parts come from a template."""

    spec: dict[str, Any]
    metadata: Mapping[str, Any] = field(default_factory=dict)
    parts: tuple[Part, ...] = ()

    def place(self, path: str) -> str:
        """Return where in the template a field of the spec comes from, in words; '' where the operator wrote it."""
        fitting = [part for part in self.parts if path.startswith(part.path)]
        if not fitting:
            return ""
        part = max(fitting, key=lambda item: len(item.path))
        return part.rendered.place(part.origin + path[len(part.path) :])


class NeedsRenders(Exception):  # noqa: N818 - it says what happened
    """The draft cannot be made before these are rendered."""

    def __init__(self, renders: Sequence[Render]) -> None:
        super().__init__(f"{len(renders)} renderings")
        self.renders = tuple(renders)


class TemplateFails(Exception):  # noqa: N818 - it says what happened
    """The template comes to nothing for this Service, in words for its author."""


def make_draft(scene: Scene, renders: Renders) -> Draft:
    """Return the operator's rules, or what the template makes of them. Errors: `NeedsRenders`, `TemplateFails`."""
    templated = scene.blocks.templated
    if templated is None:
        return own_draft(scene)
    rendering, sections, parts = _Rendering(scene, templated, renders), scene.sections, list[Part]()
    if templated.template.has_developer_routes:
        sections, parts = _with_developer_routes(rendering)
    if not templated.template.has_virtual_service:
        return Draft(_spec(scene, sections), parts=tuple(parts))
    if templated.template.per_developer:
        return _per_developer(rendering)
    values = {"DeveloperRules": list(sections.explicit()), **rendering.nobody()}
    (rendered,) = rendering.ask(VIRTUAL_SERVICE, [values], replace(scene, sections=sections))
    spec = {**_scope(scene), **rendered.document["spec"]}
    return Draft(spec, _metadata(rendered), (Part("", rendered, ""),))


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

    def __init__(self, scene: Scene, templated: Templated, renders: Renders) -> None:
        self.scene = scene
        self._templated = templated
        self._renders = renders

    def ask(self, entry: str, values: Sequence[Mapping[str, Any]], scene: Scene | None = None) -> list[Rendered]:
        """Return what the template comes to with each of these values beside those of the scene."""
        policy, template = self._templated.policy.policy, self._templated.template
        texts = self._variables(entry, values, scene or self.scene)
        wanted = [Render(policy.key, policy.uid, policy.generation, template, entry, text) for text in texts]
        found = [self._renders.get(render) for render in wanted]
        missing = [render for render, result in zip(wanted, found, strict=True) if result is None]
        if missing:
            raise NeedsRenders(list(dict.fromkeys(missing)))
        failed = [result for result in found if isinstance(result, Failed)]
        if failed:
            raise TemplateFails(failed[0].message)
        return [result for result in found if isinstance(result, Rendered)]

    def _variables(self, entry: str, values: Sequence[Mapping[str, Any]], scene: Scene) -> list[str]:
        """Return the variables of each rendering as text; all of them are in memory at once, so they are bounded."""
        texts, size = list[str](), 0
        for more in values:
            texts.append(scene.variables(self._templated.template, more))
            size += len(texts[-1])
            if size > _VARIABLES_LIMIT:
                raise TemplateFails(
                    f"template {entry}: the variables of its {len(values)} renderings come to more than "
                    f"{_VARIABLES_LIMIT >> 20} MiB; mention fewer of them, such as ServiceAnnotations or Developers"
                )
        return texts

    def developer(self, name: str, key: Key) -> dict[str, Any]:
        """Return the variables of a developer whose requests go to a Service."""
        return {"DeveloperName": name, "DeveloperNamespace": key.namespace, "DeveloperHost": self.scene.host(key)}

    def nobody(self) -> dict[str, Any]:
        """Return the variables of nobody."""
        return self.developer(NOBODY, Key(NOBODY, self.scene.service.key.name))


def _metadata(rendered: Rendered) -> dict[str, Any]:
    found: dict[str, Any] = rendered.document.get("metadata") or {}
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
    rendered = dict(zip(map(_whose, led), rendering.ask(DEVELOPER_ROUTES, values), strict=True))
    _require_few(DEVELOPER_ROUTES, sum(len(made.document) for made in rendered.values()), RULES)
    rules: list[tuple[WrittenRule, Rendered | None, int]] = []
    for rule in scene.sections.developers:
        whose = (rule.policy, rule.developer)
        if rule.kind is not TargetKind.COPY or whose not in rendered:
            rules.append((rule, None, 0))
        elif rule is own[whose][0]:
            rules.extend(_rendered_rules(rule, rendered[whose]))
    ordered = sorted(rules, key=lambda item: item[0].by_source)
    parts = [
        Part(f"spec.http[{index}]", made, f"[{origin}]") for index, (_, made, origin) in enumerate(ordered) if made
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


def _rendered_rules(first: WrittenRule, rendered: Rendered) -> Iterator[tuple[WrittenRule, Rendered, int]]:
    """Yield a developer's rules, each with a name; those that only look at the caller's namespace stand after all others."""
    for index, rule in enumerate(rendered.document):
        if not _is_selective(rule):
            raise TemplateFails(
                f"{rendered.place(f'[{index}]')}: [{index}]: the rule takes every request of a port, whoever makes it; give "
                "it a match that names the developer, such as DeveloperRules[0].match has it"
            )
        by_source = all("sourceNamespace" in match and "headers" not in match for match in rule["match"])
        named = {"name": f"{first.policy}.{first.developer}", **rule}
        yield replace(first, rule=named, by_source=by_source), rendered, index


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
    whom = [rendering.developer(item.developer, item.key) for item in led] or [rendering.nobody()]
    values = [{**item, "DeveloperRules": list(scene.sections.explicit())} for item in whom]
    rendered = rendering.ask(VIRTUAL_SERVICE, values)
    for name, other in zip([item.developer for item in led][1:], rendered[1:], strict=True):
        _require_equal(rendered[0], other, led[0].developer, name)
    rules = _joined(rendered, [item.developer for item in led])
    kept = [item for item in rules if led or NOBODY not in json.dumps(item[0])]
    parts = [Part("", rendered[0], "")]
    parts += [Part(f"spec.http[{index}]", made, f"spec.http[{origin}]") for index, (_, made, origin) in enumerate(kept)]
    spec = {**_scope(scene), **rendered[0].document["spec"], "http": [rule for rule, _, _ in kept]}
    return Draft(spec, _metadata(rendered[0]), tuple(parts))


def _require_equal(first: Rendered, other: Rendered, one: str, another: str) -> None:
    """Refuse templates that say something different for each developer outside http: there is one VirtualService."""
    for path, ours, theirs in _outside_http(first.document, other.document):
        if ours != theirs:
            raise TemplateFails(
                f"{first.place(path)}: {path} is {_shown(ours)} for {one} and {_shown(theirs)} for {another}; with "
                "renderPer: Developer only the rules of http may differ"
            )


def _require_few(entry: str, count: int, limit: int) -> None:
    """Refuse rules that are too many for one VirtualService."""
    if count > limit:
        raise TemplateFails(
            f"template {entry}: its rules for all developers are {count}, more than {limit}; write fewer for each developer, "
            "with several matches in one rule"
        )


def _outside_http(first: Any, other: Any) -> Iterator[tuple[str, Any, Any]]:
    specs = (first["spec"], other["spec"])
    for key in sorted({*first, *other} - {"spec"}):
        yield key, first.get(key), other.get(key)
    for key in sorted({*specs[0], *specs[1]} - {"http"}):
        yield f"spec.{key}", specs[0].get(key), specs[1].get(key)


def _joined(rendered: Sequence[Rendered], developers: Sequence[str]) -> list[tuple[Rule, Rendered, int]]:
    """
    Return the rules with a match, one developer's after the other's, then those that take every request of a port.

    Equal rules are written once. Catch-alls that differ would hide each other.
    """
    _require_few(VIRTUAL_SERVICE, sum(len(made.document["spec"].get("http") or ()) for made in rendered), _RULES_BEFORE)
    known: set[str] = set()
    selective: list[tuple[Rule, Rendered, int]] = []
    catching: list[tuple[Rule, Rendered, int]] = []
    for number, made in enumerate(rendered):
        for index, rule in enumerate(made.document["spec"].get("http") or ()):
            where = selective if _is_selective(rule) else catching
            text = _ordered(rule)
            if text in known:
                continue
            known.add(text)
            if number and where is catching:
                raise TemplateFails(
                    f"{made.place(f'spec.http[{index}]')}: spec.http[{index}] takes every request of a port and differs "
                    f"between {developers[0]} and {developers[number]}; give it a match, or make it equal for all"
                )
            where.append((rule, made, index))
    _require_few(VIRTUAL_SERVICE, len(known), RULES)
    return [*selective, *catching]


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:79] + "…"  # noqa: PLR2004 - long enough to recognise
