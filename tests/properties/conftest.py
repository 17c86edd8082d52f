"""How many examples: 300 of each property by default, PROPERTY_EXAMPLES for more (make properties)."""

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "project",
    max_examples=int(os.environ.get("PROPERTY_EXAMPLES", "300")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("project")
