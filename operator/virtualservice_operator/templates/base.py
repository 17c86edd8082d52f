"""
The built-in template `base`: what the operator would have written, with three blocks to change.

    metadata                labels and annotations
    rules_before_default    rules after those of developers, before those for callers' namespaces
    default_rule            the last rules, one for each port

A block's text begins at the left margin; `base` moves it to where it belongs.
"""

from typing import Final

BLOCKS: Final = ("metadata", "rules_before_default", "default_rule")
TEXT: Final = """\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: {{ (ServiceName ~ "-virtual-service") | tojson }}
  namespace: {{ ServiceNamespace | tojson }}
{% filter indent(2, true) %}
{% block metadata %}{% endblock %}

{% endfilter %}
spec:
  hosts:
  - {{ ServiceFQDN | tojson }}
  http:
{% for rule in DeveloperRules %}
  - {{ rule | tojson }}
{% endfor %}
{% filter indent(2, true) %}
{% block rules_before_default %}{% endblock %}

{% endfilter %}
{% for rule in SourceRules + UnknownRules %}
  - {{ rule | tojson }}
{% endfor %}
{% filter indent(2, true) %}
{% block default_rule %}
{% for rule in DefaultRules %}
- {{ rule | tojson }}
{% endfor %}
{% endblock %}

{% endfilter %}
"""
