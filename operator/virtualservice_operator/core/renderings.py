"""
The renderings that a draft takes: asked for together, counted as they are looked at, and bounded.

One developer's are small; those of all developers, or of many policies, have to be small together.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from virtualservice_operator.core.blocks import Templated
from virtualservice_operator.core.objects import Key
from virtualservice_operator.core.routes import Rule
from virtualservice_operator.core.template import BYTES, RULES, Metered, Render, Rendered
from virtualservice_operator.core.template_variables import Scene
from virtualservice_operator.core.wording import stored_length

# Characters of all variables that one Service's renderings are given.
VARIABLES_LIMIT: Final = 4 * 1024 * 1024
# Stand in for a developer where nobody has a copy: what comes out for one and not for the other is about a developer.
# They have no character in common and not the same length, so that no part of them is equal either.
NOBODIES: Final = ("vso-nobody-3f9a", "hermit27")


@dataclass(frozen=True, slots=True)
class Limits:
    """What the rules for all developers may come to, in number and in bytes as JSON; `when` in words."""

    rules: int
    size: int
    when: str = ""


# What the renderings of all policies for one Service may come to: those in mode Observe and those that fail are among them.
_OF_ALL_POLICIES: Final = Limits(8 * RULES, 4 * BYTES)
# Before equal rules are written once: looking at each takes time.
GATHERED: Final = Limits(4 * RULES, 2 * BYTES, " before equal ones are written once")
WRITTEN: Final = Limits(RULES, BYTES)


@dataclass(frozen=True, slots=True)
class Made:
    """What came of a rendering."""

    render: Render
    rendered: Rendered


class NeedsRenders(Exception):  # noqa: N818 - it says what happened
    """The draft cannot be made before these are rendered."""

    def __init__(self, renders: Sequence[Render]) -> None:
        super().__init__(f"{len(renders)} renderings")
        self.renders = tuple(renders)


class TemplateFails(Exception):  # noqa: N818 - it says what happened
    """The template comes to nothing for this Service, in words for its author."""


class Renderings:
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
        limits: Limits = GATHERED,
        scene: Scene | None = None,
    ) -> Iterator[Made]:
        """
        Yield what the template comes to with each of these values beside those of the scene, one at a time.

        What is known is counted, also where something before it is missing: what is too much already needs no more of them.
        """
        is_too_much = self.renders.rules > _OF_ALL_POLICIES.rules or self.renders.size > _OF_ALL_POLICIES.size
        policy, template = self._templated.policy.policy, self._templated.template
        missing, count = dict[Render, None](), Count(entry, len(values), limits)
        for text in self._variables(entry, values, scene or self.scene):
            render = Render(policy.key, policy.uid, policy.generation, template, entry, text)
            if is_too_much and not self.renders.is_counted(render):
                raise TemplateFails(
                    f"template {entry}: the templates of all policies of the Service come to more than {_OF_ALL_POLICIES.rules} "
                    f"rules, or {_OF_ALL_POLICIES.size >> 20} MiB as JSON; let fewer policies, also in mode Observe, have one"
                )
            result = self.renders.get(render) if render not in missing else None
            if isinstance(result, Rendered):
                sizes = [stored_length(rule_text(rule)) for rule in rules_in(result.document)]
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


class Count:
    """Rules for all developers, counted until they are too many or too much for one VirtualService."""

    def __init__(self, entry: str, developers: int, limits: Limits) -> None:
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


def rules_in(document: Any) -> Sequence[Rule]:
    """Return the rules of what either text of a template came to."""
    found: Sequence[Rule] = document if isinstance(document, list) else document["spec"]["http"]
    return found


_encode: Final = json.JSONEncoder(separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode


def rule_text(rule: Rule) -> str:
    """Return a rule as JSON; equal rules are equal texts."""
    return _encode(rule)
