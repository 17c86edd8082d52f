"""
What a VirtualService says before it is stamped: the operator's own rules, or what the policies' template makes of them.

    template               rendered                          comes to
    (none)                 -                                 the operator's rules
    developerRoutes        per developer with a copy         rules in place of those of that developer
    virtualService         once, with the rules as values    the whole spec
      per Developer        once per developer with a copy    equal but for http; the rules are put together
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from virtualservice_operator.core.contest import TargetKind
from virtualservice_operator.core.joined import join_for, join_for_nobody
from virtualservice_operator.core.renderings import WRITTEN, Made, Renderings, TemplateFails
from virtualservice_operator.core.routes import Sections, WrittenRule, is_selective
from virtualservice_operator.core.template import (
    DEVELOPER_ROUTES,
    VIRTUAL_SERVICE,
    Metered,
    Render,
    Rendered,
    Renders,
)
from virtualservice_operator.core.template_variables import Led, Scene


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


def make_draft(scene: Scene, renders: Metered) -> Draft:
    """Return the operator's rules, or what the template makes of them. Errors: `NeedsRenders`, `TemplateFails`."""
    templated = scene.blocks.templated
    if templated is None:
        return own_draft(scene)
    rendering, sections, parts = Renderings(scene, templated, renders), scene.sections, list[Part]()
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


def _metadata(rendered: Rendered) -> dict[str, Any]:
    found: dict[str, Any] = rendered.document.get("metadata") or {}
    return found


# ---- developerRoutes


def _with_developer_routes(rendering: Renderings) -> tuple[Sections, list[Part]]:
    """Return the sections with the rendered rules in place of those of each developer who has a copy."""
    scene = rendering.scene
    own = _rules_of(scene.sections.developers)
    led = [item for item in scene.led() if _whose(item) in own]
    values = [
        {**rendering.developer(item.developer, item.key), "DeveloperRules": [rule.rule for rule in own[_whose(item)]]}
        for item in led
    ]
    made = dict(zip(map(_whose, led), rendering.each(DEVELOPER_ROUTES, values, WRITTEN), strict=True))
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
        if not is_selective(rule):
            raise TemplateFails(
                f"{rendered.place(f'[{index}]')}: [{index}]: the rule takes every request of a port, whoever makes it; give "
                "it a match that names the developer, such as DeveloperRules[0].match has it"
            )
        by_source = all("sourceNamespace" in match and "headers" not in match for match in rule["match"])
        named = {"name": f"{first.policy}.{first.developer}", **rule}
        yield replace(first, rule=named, by_source=by_source), made.render, index


# ---- renderPer: Developer


def _per_developer(rendering: Renderings) -> Draft:
    """Return what the renderings for each developer come to together; with no copy, what is left without anybody."""
    scene = rendering.scene
    led = scene.led()
    whom = [rendering.developer(item.developer, item.key) for item in led] or rendering.nobodies()
    values = [{**item, "DeveloperRules": list(scene.sections.explicit())} for item in whom]
    made = rendering.each(VIRTUAL_SERVICE, values)
    joined = join_for(made, [item.developer for item in led]) if led else join_for_nobody(*made)
    first = joined.first
    parts = [Part("", first.render, "")]
    parts += [
        Part(f"spec.http[{index}]", render, f"spec.http[{origin}]")
        for index, (_, render, origin) in enumerate(joined.rules)
    ]
    spec = {**_scope(scene), **first.rendered.document["spec"], "http": [rule for rule, _, _ in joined.rules]}
    return Draft(spec, _metadata(first.rendered), tuple(parts), rendering.renders)
