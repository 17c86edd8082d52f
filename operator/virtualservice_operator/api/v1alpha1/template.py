"""Jinja2 text in a policy."""

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from virtualservice_operator.api.v1alpha1.fields import DnsLabel, Model, extension, rule


class TemplateInclude(Model):
    """A text that templates of the policy can name."""

    model_config = ConfigDict(
        json_schema_extra=extension(
            validations=[
                rule("self.name != 'base'", "base is the built-in template; choose another name", fieldPath=".name")
            ]
        )
    )

    name: DnsLabel = Field(description="By which extends, include and fragment name it; not base.")
    content: Annotated[str, StringConstraints(min_length=1, max_length=16384)] = Field(
        description="Jinja2 text, as in `virtualService`."
    )


class PolicyTemplate(Model):
    """Jinja2 text that makes the VirtualService, or a developer's rules in it."""

    model_config = ConfigDict(
        json_schema_extra=extension(
            validations=[
                rule(
                    "has(self.virtualService) || has(self.developerRoutes)",
                    "a template says virtualService or developerRoutes; includes alone make nothing",
                ),
                rule(
                    "!has(self.renderPer) || self.renderPer != 'Developer' || "
                    "(has(self.virtualService) && !has(self.developerRoutes))",
                    "renderPer: Developer needs virtualService, and no developerRoutes: it makes all rules of a developer",
                    fieldPath=".renderPer",
                ),
                rule(
                    "!has(self.renderPer) || has(self.virtualService)",
                    "renderPer says how virtualService is rendered; developerRoutes is always rendered per developer",
                    fieldPath=".renderPer",
                ),
            ]
        )
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
        names = [include.name for include in self.includes or ()]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"includes: {repeated[0]!r} is there twice; keep one entry")
        return self

    @model_validator(mode="after")
    def _makes_something(self) -> Self:
        """Say what the CRD's rules say, for those who come without an API server: `vso render`."""
        if self.virtual_service is None and self.developer_routes is None:
            raise ValueError("a template says virtualService or developerRoutes; includes alone make nothing")
        if self.render_per is not None and self.virtual_service is None:
            raise ValueError(
                "renderPer says how virtualService is rendered; developerRoutes is always rendered per developer"
            )
        if self.render_per == "Developer" and self.developer_routes is not None:
            raise ValueError("renderPer: Developer needs virtualService, and no developerRoutes")
        return self
