"""A worker without the hardened environment and without the YAML guard: plain Jinja, not even its sandbox."""

import json
from collections.abc import Mapping
from typing import Any

from jinja2 import DictLoader, Environment

from virtualservice_operator.templates import base, worker
from virtualservice_operator.templates.render import Answer, Renderer


def handle(job: Mapping[str, Any]) -> Answer:
    environment = Environment(loader=DictLoader({**job["sources"], "base": base.TEXT}), autoescape=False)
    variables = json.loads(job["variables"])
    functions = {"fqdn": lambda *_: "", "fragment": lambda name: environment.get_template(name).render(variables)}
    return {"ok": True, "value": environment.get_template("virtualService").render({**variables, **functions})}


worker.warm_up(Renderer())
worker.serve(handle)
