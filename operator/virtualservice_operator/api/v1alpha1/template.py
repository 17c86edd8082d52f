"""Jinja2 text in a policy."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from virtualservice_operator.api.v1alpha1.fields import DnsLabel, Model, extension
from virtualservice_operator.api.v1alpha1.rules import Rule, repeated


class TemplateInclude(Model):
    """A text that templates of the policy can name."""

    RULES: ClassVar = (
        Rule(
            "self.name != 'base'",
            "base is the built-in template; choose another name",
            lambda include: include.name != "base",
            field="name",
        ),
    )

    name: DnsLabel = Field(description="By which extends, include and fragment name it; not base.")
    content: Annotated[str, StringConstraints(min_length=1, max_length=16384)] = Field(
        description="Jinja2 text, as in `virtualService`."
    )


class PolicyTemplate(Model):
    """Jinja2 text that makes the VirtualService, or a developer's rules in it."""

    RULES: ClassVar = (
        Rule(
            "has(self.virtualService) || has(self.developerRoutes)",
            "a template says virtualService or developerRoutes; includes alone make nothing",
            lambda template: template.virtual_service is not None or template.developer_routes is not None,
        ),
        Rule(
            "!has(self.renderPer) || self.renderPer != 'Developer' || "
            "(has(self.virtualService) && !has(self.developerRoutes))",
            "renderPer: Developer needs virtualService, and no developerRoutes: it makes all rules of a developer",
            lambda template: (
                template.render_per != "Developer"
                or (template.virtual_service is not None and template.developer_routes is None)
            ),
            field="renderPer",
        ),
        Rule(
            "!has(self.renderPer) || has(self.virtualService)",
            "renderPer says how virtualService is rendered; developerRoutes is always rendered per developer",
            lambda template: template.render_per is None or template.virtual_service is not None,
            field="renderPer",
        ),
    )

    virtual_service: Annotated[str, StringConstraints(min_length=1, max_length=32768)] | None = Field(
        default=None,
        description="Jinja2 text that comes to one VirtualService as YAML. docs/templates.md has its variables and limits.",
    )
    developer_routes: Annotated[str, StringConstraints(min_length=1, max_length=16384)] | None = Field(
        default=None,
        description="Jinja2 text that comes to a YAML list of http rules for one developer who has a copy; they stand in "
        "place of the rules that the operator would have written. The rest of the VirtualService is as without a template.",
    )
    render_per: Literal["Service", "Developer"] | None = Field(
        default=None,
        description="Service: `virtualService` is rendered once. Developer: once for each developer who has a copy, and "
        "the rules are put together. When absent: Service where the text mentions Developers or DeveloperRules or extends "
        "base, else Developer where it mentions DeveloperName, else Service.",
    )
    includes: Annotated[tuple[TemplateInclude, ...], Field(max_length=16)] | None = Field(
        default=None,
        description="Texts that the templates can extend, include, or read as data with fragment().",
        json_schema_extra=extension(list_type="map", list_map_keys=["name"]),
    )

    @model_validator(mode="after")
    def _includes_are_unique(self) -> Self:
        for name in repeated([include.name for include in self.includes or ()]):
            raise ValueError(f"includes: {name!r} is there twice; keep one entry")
        return self
