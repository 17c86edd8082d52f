"""
Templates that mean harm, and what each is after. The layers are tried on all of them, together and each alone.

    cpu, memory, output    to take what others need
    compile                the same, before anything is rendered
    escape, mutate, leak   to reach what is not theirs: Python's objects, shared state, other templates
    yaml                   what YAML is abused for
    reach                  a result that goes where the policy may not
"""

from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, slots=True)
class Attack:
    """One template, with includes and with values that a Service's owner chose."""

    name: str
    after: str
    text: str
    includes: dict[str, str] = field(default_factory=dict)
    annotation: str = "a note"


def _deep(opening: str, middle: str, closing: str, times: int) -> str:
    return opening * times + middle + closing * times


def _spec(http: str, *, hosts: str = "[reviews.shop.svc.cluster.local]", more: str = "", top: str = "") -> str:
    return (
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\n"
        f"{top}spec:\n  hosts: {hosts}\n{more}  http:\n{http}\n  - route: [{{destination: {{host: reviews.shop.svc.cluster.local}}}}]\n"
    )


_BOMB: Final = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)
_DOUBLING: Final = "{% set a = ['xxxxxxxx'] %}" + "{% set a = a + a %}" * 40 + "{{ a | tojson }}"
_NESTING: Final = "{% set a = ['xxxxxxxx'] %}" + "{% set a = [a, a] %}" * 40 + "{{ a | tojson }}"
_LONG: Final = "{% set a = 'aaaaaaaaaaaaaaaa' %}" + "{% set a = a ~ a %}" * 13
_LOOPS: Final = "{% for a in range(1000) %}{% for b in range(1000) %}{% endfor %}{% endfor %}"
_TEXT: Final = "{% set a = 'xxxxxxxx' %}" + "{% set a = a ~ a %}" * 40 + "{{ a }}"
_SETS: Final = "".join(f"{{% set v{n} = {n} %}}" for n in range(190))
_TREE: Final = {f"i{n}": "" if n == 15 else f"{{% include 'i{n + 1}' %}}" * 2 for n in range(16)}


def _blocks(levels: int, each: int, inner: str) -> dict[str, str]:
    """Return templates by name that extend one another, each with blocks in the innermost block of its parent."""
    texts = {}
    for level in range(levels):
        names = [f"b{level}x{n}" for n in range(each)]
        last = level == levels - 1
        outer = f"{{% extends 'i{level - 1}' %}}{{% block b{level - 1}x{each - 1} %}}" if level else ""
        opened = "".join(f"{{% block {name} %}}" for name in names)
        closed = "{% endblock %}" * (each + bool(level))
        texts["virtualService" if last else f"i{level}"] = outer + opened + (inner if last else "") + closed
    return texts


_IN_BLOCKS: Final = _blocks(10, 25, _LOOPS.replace("{% endfor %}", "{{ a }}{% endfor %}", 1))

ATTACKS: Final = (
    # ---- time
    Attack("loops in loops", "cpu", "{% for a in range(1000) %}{% for b in range(1000) %}{% for c in range(1000) %}{% endfor %}{% endfor %}{% endfor %}"),
    Attack("an endless range", "cpu", "{% for a in range(10 ** 12) %}{% endfor %}"),
    Attack("a range of a large literal", "cpu", "{% for a in range(999999999999) %}{% endfor %}"),
    Attack("loops over text", "cpu", "{% set t = 'x' * 100000 %}{% for a in t %}{% for b in t %}{% endfor %}{% endfor %}"),
    Attack("a recursive loop", "cpu", "{% for a in [[]] recursive %}{{ loop([[]]) }}{% endfor %}"),
    Attack("a recursive macro", "cpu", "{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{{ m() }}"),
    Attack("a block that calls itself", "cpu", "{% block a %}{{ self.a() }}{{ self.a() }}{% endblock %}"),
    Attack("includes that include themselves", "cpu", "{% include 'x' %}", {"x": "{% include 'x' %}{% include 'x' %}"}),
    Attack("fragments in a circle", "cpu", "{{ fragment('x') }}", {"x": "{{ fragment('y') }}", "y": "{{ fragment('x') }}"}),
    Attack("an include in loops", "cpu", "{% for a in range(1000) %}{% for b in range(1000) %}{% include 'x' %}{% endfor %}{% endfor %}", {"x": "{{ ServiceName }}"}),
    Attack("a fragment in loops", "cpu", "{% for a in range(1000) %}{% for b in range(100) %}{{ fragment('x') | tojson }}{% endfor %}{% endfor %}", {"x": "a: 1"}),
    Attack("includes that double", "cpu", "{% include 'i0' %}", _TREE),
    Attack("an include that is given many names", "cpu", _SETS + _LOOPS.replace("{% endfor %}", "{% include 'x' %}{% endfor %}", 1), {"x": ""}),
    Attack("many includes with many names", "cpu", _SETS + "{% for a in range(1000) %}" + "{% include 'x' %}" * 5 + "{% endfor %}" + _LOOPS, {"x": "x"}),
    Attack("a fragment that is given many names", "cpu", _SETS + _LOOPS.replace("{% endfor %}", "{% set f = fragment('x') %}{% endfor %}", 1), {"x": "a"}),
    Attack("an include that looks for many names", "cpu", "{% for a in range(1000) %}{% for b in range(1000) %}{% include 'x' %}{% endfor %}{% endfor %}", {"x": "{% for a in [] %}" + _SETS.replace("set v", "set w") + "{% endfor %}"}),
    Attack("blocks in blocks of parents", "cpu", _IN_BLOCKS["virtualService"], {name: text for name, text in _IN_BLOCKS.items() if name != "virtualService"}),
    Attack("a scoped block", "cpu", _SETS + "{% for a in range(1000) %}{% for b in range(1000) %}{% block q scoped %}{% endblock %}{% endfor %}{% endfor %}"),
    Attack("a power of powers", "cpu", "{{ 9 ** 9 ** 9 }}"),
    Attack("a large product", "cpu", "{% set a = 9999999999 %}" + "{% set a = a * a %}" * 30 + "{{ a }}"),
    Attack("a number of many digits", "cpu", "{{ ('9' * 200000) | int }}"),
    Attack("sorting what is long", "cpu", "{% for a in range(1000) %}{% set x = (range(1000) | list) | sort %}{% endfor %}"),
    Attack("comparing what is deep", "cpu", "{% set a = [1] %}" + "{% set a = [a, a] %}" * 40 + "{{ a == a[0] }}"),
    Attack("looking for text in text", "cpu", "{% set a = 'a' * 100000 %}{% for i in range(1000) %}{{ 'ab' in a }}{% endfor %}"),
    Attack("replacing in loops", "cpu", "{% set a = 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' %}{% for i in range(1000) %}{% for j in range(1000) %}{{ a.replace('a', 'bb') }}{% endfor %}{% endfor %}"),
    Attack("a map of a map", "cpu", "{% for i in range(1000) %}{{ range(1000) | map('string') | map('upper') | list | tojson }}{% endfor %}"),
    Attack("groups of groups", "cpu", "{% for i in range(1000) %}{{ range(1000) | groupby('real') | list }}{% endfor %}"),
    Attack("fuel given back", "cpu", "{% set z = [-9000000] | map('!charge') | list %}" + _LOOPS),
    Attack("fuel given back by select", "cpu", "{% set z = [-9000000] | select('!charge') | list %}" + _LOOPS),
    Attack("a round number", "cpu", "{% for i in range(30) %}{{ 5 | round(-100000000) }}{% endfor %}"),
    Attack("a sum of lists", "cpu", "{% set a = [[1]] %}" + "{% set a = a + a %}" * 13 + "{% for i in range(9) %}{{ a | sum(start=[]) | length }}{% endfor %}"),
    Attack("a long path of fields", "cpu", "{% for i in range(1000) %}{{ (['0'] * 1000 if false else range(1000) | map('string') | list) | map(attribute='" + "0." * 1600 + "0') | list | length }}{% endfor %}"),
    Attack("many fields to sort by", "cpu", "{% for i in range(1000) %}{{ range(1000) | map('string') | list | sort(attribute='" + "0," * 1600 + "0') | length }}{% endfor %}"),
    Attack("looking from the end", "cpu", _LONG + "{% for i in range(1000) %}{% set x = a.rpartition(a[:30000] ~ 'b' ~ a[:30000]) %}{% endfor %}"),
    Attack("stripping many characters", "cpu", _LONG + "{% set b = 'b' ~ a %}{% for i in range(1000) %}{% set x = a.strip(b) %}{% endfor %}"),
    Attack("text in text of the same kind", "cpu", _LONG + "{% set b = a[:600] ~ 'b' ~ a[:600] %}{% for i in range(1000) %}{% if b in a[:2400] %}{% endif %}{% endfor %}"),
    Attack("the least letter of a text", "cpu", _LONG + "{% for i in range(1000) %}{% set x = a | min ~ a | unique | first %}{% endfor %}"),
    Attack("groups of letters", "cpu", _LONG + "{% for i in range(1000) %}{% set x = a | groupby(0) %}{% endfor %}"),
    Attack("titles", "cpu", "{% set a = 'a-a-a-a-' %}" + "{% set a = a ~ a %}" * 14 + "{% for i in range(1000) %}{% set x = a | title %}{% endfor %}"),
    # ---- memory
    Attack("join with a long text", "memory", _LONG + "{{ range(1000) | join(a) | length }}"),
    Attack("text times a number", "memory", "{{ 'x' * 1000000000 }}"),
    Attack("a list times a number", "memory", "{{ ([1] * 1000000000) | length }}"),
    Attack("text that doubles", "memory", _TEXT),
    Attack("a list that doubles", "memory", _DOUBLING),
    Attack("a list of itself", "memory", _NESTING),
    Attack("a width in a format", "memory", "{{ '%1000000000d' % 1 }}"),
    Attack("a width in str.format", "memory", "{{ '{:1000000000}'.format(1) }}"),
    Attack("a width in format_map", "memory", "{{ '{a:1000000000}'.format_map({'a': 1}) }}"),
    Attack("center", "memory", "{{ 'x' | center(1000000000) }}"),
    Attack("str.center", "memory", "{{ 'x'.center(1000000000) }}"),
    Attack("ljust and zfill", "memory", "{{ 'x'.ljust(1000000000) ~ '1'.zfill(1000000000) }}"),
    Attack("expandtabs", "memory", "{{ '\\t'.expandtabs(1000000000) }}"),
    Attack("join", "memory", "{{ ('x' * 1000).join(range(1000) | map('string') | list) * 1000 }}"),
    Attack("replace", "memory", "{% set a = 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' %}" + "{% set a = a.replace('a', a) %}" * 8 + "{{ a }}"),
    Attack("the filter replace", "memory", "{% set a = 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' %}" + "{% set a = a | replace('a', a) %}" * 8 + "{{ a }}"),
    Attack("indent", "memory", "{{ ('a\\n' * 100000) | indent(100000) }}"),
    Attack("batch with fill", "memory", "{{ [1] | batch(1000000000, 0) | list }}"),
    Attack("slice with fill", "memory", "{{ [1] | slice(1000000000, 0) | list }}"),
    Attack("a shift", "memory", "{{ 1 * 2 ** 100000000 }}"),
    Attack("lorem ipsum", "memory", "{{ lipsum(n=1000000) }}"),
    Attack("a set block in loops", "memory", "{% set a %}xxxxxxxxxxxxxxxx{% endset %}" + "{% set a %}{{ a }}{{ a }}{{ a }}{{ a }}{% endset %}" * 20 + "{{ a }}"),
    # ---- output
    Attack("much output", "output", "{% for a in range(1000) %}{% for b in range(1000) %}- xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n{% endfor %}{% endfor %}"),
    Attack("a value that is printed often", "output", "{% for a in range(1000) %}{{ ServiceAnnotations | tojson }}{% endfor %}", annotation="x" * 200_000),
    Attack("an include that is printed often", "output", "{% for a in range(1000) %}{% include 'x' %}{% endfor %}", {"x": "- xxxxxxxxxx\n" * 1000}),
    # ---- compiling
    Attack("brackets in brackets", "compile", "{{ " + _deep("(", "1", ")", 3000) + " }}"),
    Attack("lists in lists", "compile", "{{ " + _deep("[", "", "]", 2000) + " }}"),
    Attack("a long sum", "compile", "{{ " + "1 + " * 8000 + "1 }}"),
    Attack("a long chain of not", "compile", "{{ " + "not " * 5000 + "1 }}"),
    Attack("a long chain of minus", "compile", "{{ " + "-" * 8000 + "1 }}"),
    Attack("if in if", "compile", _deep("{% if 1 %}", "x", "{% endif %}", 500)),
    Attack("for in for", "compile", _deep("{% for a in [1] %}", "x", "{% endfor %}", 60)),
    Attack("a choice in a choice", "compile", "{{ " + "1 if 1 else " * 3000 + "1 }}"),
    Attack("constants to fold", "compile", "{{ 'x' * 100000000 if false else ('y' * 100000000) | upper }}"),
    Attack("a power to fold", "compile", "{% if false %}{{ 9 ** 9 ** 9 }}{% endif %}"),
    Attack("many tags", "compile", "{{1}}" * 6000),
    Attack("many blocks", "compile", "".join(f"{{% block b{n} %}}{{% endblock %}}" for n in range(1200))),
    Attack("a long number", "compile", "{{ " + "9" * 16_000 + " }}"),
    Attack("many filters", "compile", "{{ 'a'" + " | upper" * 4000 + " }}"),
    # ---- escape, change, look around
    Attack("the class of a text", "escape", "{{ ''.__class__.__mro__[1].__subclasses__() }}"),
    Attack("the class by item", "escape", "{{ ''['__class__'] }}"),
    Attack("the class by attr", "escape", "{{ '' | attr('__class__') }}"),
    Attack("the class by map", "escape", "{{ [''] | map(attribute='__class__') | list }}"),
    Attack("the class by sort", "escape", "{{ ['', 'a'] | sort(attribute='__class__.__name__') | list }}"),
    Attack("the class by format", "escape", "{{ '{0.__class__.__mro__}'.format('') }}"),
    Attack("the class by format_map", "escape", "{{ '{a.__class__}'.format_map({'a': ''}) }}"),
    Attack("format by way of map", "escape", "{{ ['{0.__class__}'] | map('format', '') | list }}"),
    Attack("an indirect format", "escape", "{% set f = '{0.__class__}'.format %}{{ f('') }}"),
    Attack("Markup's format", "escape", "{{ ('{0.__class__}' | safe).format('') }}"),
    Attack("the globals of a function", "escape", "{{ range.__globals__ }}{{ fqdn.__globals__ }}{{ fragment.__closure__ }}"),
    Attack("the globals of cycler", "escape", "{{ cycler.__init__.__globals__.os.popen('id').read() }}"),
    Attack("lipsum's globals", "escape", "{{ lipsum.__globals__['os'].environ }}"),
    Attack("the frame of a generator", "escape", "{{ (ServicePorts | map('string')).gi_frame.f_globals }}"),
    Attack("self", "escape", "{{ self._TemplateReference__context.environment }}{{ self.__init__.__globals__ }}"),
    Attack("the loop's own", "escape", "{% for a in [1] %}{{ loop.__init__.__globals__ }}{{ loop._iterator }}{% endfor %}"),
    Attack("super's own", "escape", "{% extends 'base' %}{% block metadata %}{{ super.__init__.__globals__ }}{{ super.super }}{% endblock %}"),
    Attack("undefined's own", "escape", "{{ nothing.__class__ }}{{ ServiceLabels.nothing._undefined_message }}"),
    Attack("an import from elsewhere", "escape", "{% include '/etc/passwd' %}{% extends '../secret' %}"),
    Attack("another policy's include", "escape", "{% include 'other:secret' %}{% include 'warm-up-0:virtualService' %}"),
    Attack("a name that is put together", "escape", "{% include ['x', 'base'] %}"),
    Attack("a line statement of Python", "escape", "{{ __import__('os').system('id') }}"),
    Attack("changing a list", "mutate", "{{ ServicePorts.append(1) }}{{ ServicePorts.clear() }}"),
    Attack("changing a mapping", "mutate", "{{ ServiceLabels.update({'a': 'b'}) }}{{ ServiceLabels.pop('app') }}"),
    Attack("changing through a namespace", "mutate", "{% set n = namespace(a=1) %}{% set n.a = 2 %}{{ n }}"),
    Attack("setting what has a meaning", "mutate", "{% set fqdn = 1 %}{% set loop = 1 %}{% set super = 1 %}"),
    Attack("an address in the output", "leak", "a: {{ ServiceName.upper }}\nb: {{ ServiceLabels.get }}\nc: {{ ServiceLabels.items() }}"),
    Attack("the clock and dice", "leak", "a: {{ range(1000) | random }}\nb: {{ now() }}"),
    Attack("the environment of the process", "leak", "{{ environ }}{{ env }}{{ request }}{{ config }}"),
    Attack("debugging", "leak", "{% debug %}{{ context }}"),
    # ---- YAML
    Attack("an alias bomb", "yaml", _BOMB),
    Attack("deep lists", "yaml", "[" * 16_000),
    Attack("deep mappings", "yaml", "{a: " * 8_000),
    Attack("deep blocks", "yaml", "- " * 12_000),
    Attack("a Python object", "yaml", "!!python/object/apply:os.system ['id']"),
    Attack("merge keys", "yaml", _spec("  - {<<: {name: a}, match: [{port: 80}], directResponse: {status: 200}}")),
    Attack("equal keys", "yaml", _spec("  - match: [{port: 80}]\n    directResponse: {status: 200}", more="  hosts: [evil.example.com]\n")),
    Attack("a second document", "yaml", _spec("  - {match: [{port: 80}], directResponse: {status: 200}}") + "---\nkind: Secret\n"),
    Attack("many keys", "yaml", "{% for a in range(1000) %}{% for b in range(30) %}k{{ a }}x{{ b }}: 1\n{% endfor %}{% endfor %}"),
    Attack("a wide list", "yaml", "[" + "1," * 15_000 + "]"),
    Attack("lists in a wide list", "yaml", "{% for a in range(1000) %}{% for b in range(30) %}- []\n{% endfor %}{% endfor %}"),
    Attack("a key from an annotation", "yaml", _spec("  - {match: [{port: 80}], directResponse: {status: 200}}", top="metadata:\n  annotations:\n    note: {{ ServiceAnnotations.note }}\n"), annotation="x\n  name: evil"),
    Attack("a rule from an annotation", "yaml", _spec("  - name: {{ ServiceAnnotations.note }}\n    match: [{port: 80}]\n    directResponse: {status: 200}"), annotation="x\n  - directResponse: {status: 200}\n    name: y"),
    Attack("a quote from an annotation", "yaml", _spec('  - {name: "{{ ServiceAnnotations.note }}", match: [{port: 80}], directResponse: {status: 200}}'), annotation='x", timeout: "1h'),
    Attack("a field from an annotation in a comment", "yaml", "# {{ ServiceAnnotations.note }}\n" + _spec("  - {match: [{port: 80}], directResponse: {status: 200}}"), annotation="x\nmetadata: {name: other}\n#"),
    Attack("an annotation put into text", "yaml", _spec("  - {name: {{ 'svc-N' | replace('N', ServiceAnnotations.note) }}, match: [{port: 80}], directResponse: {status: 200}}"), annotation="x, timeout: 1h"),
    Attack("an annotation put into text around it", "yaml", _spec("  - {name: {% filter replace('N', ServiceAnnotations.note) %}svc-N{% endfilter %}, match: [{port: 80}], directResponse: {status: 200}}"), annotation="x, timeout: 1h"),
    Attack("an annotation as a fragment", "yaml", _spec("  - {name: {{ fragment('n') }}, match: [{port: 80}], directResponse: {status: 200}}"), {"n": "{{ ServiceAnnotations.note | tojson }}"}, annotation="x, timeout: 1h"),
    Attack("an annotation as JSON in quotes", "yaml", _spec("  - {name: '{{ ServiceAnnotations.note | tojson }}', match: [{port: 80}], directResponse: {status: 200}}"), annotation="x', timeout: '1h"),
    Attack("an annotation as JSON in text", "yaml", _spec("  - {name: svc-{{ ServiceAnnotations.note | tojson }}, match: [{port: 80}], directResponse: {status: 200}}"), annotation="x, timeout: 1h"),
    Attack("an annotation without its marks", "yaml", _spec("  - {name: {{ [ServiceAnnotations.note] | map('!literal') | first }}, match: [{port: 80}], directResponse: {status: 200}}"), annotation="x, timeout: 1h"),
    # ---- reach
    Attack("a host of others", "reach", _spec("  - {match: [{port: 80}], directResponse: {status: 200}}", hosts="[api.bank.svc.cluster.local]")),
    Attack("every host", "reach", _spec("  - {match: [{port: 80}], directResponse: {status: 200}}", hosts='["*"]')),
    Attack("a destination of others", "reach", _spec("  - {match: [{port: 80}], route: [{destination: {host: vault.kube-system.svc.cluster.local}}]}")),
    Attack("a destination outside", "reach", _spec("  - {match: [{port: 80}], route: [{destination: {host: evil.example.com}}]}")),
    Attack("a mirror of others", "reach", _spec("  - {match: [{port: 80}], mirror: {host: tap.evil.svc.cluster.local}, route: [{destination: {host: reviews.shop.svc.cluster.local}}]}")),
    Attack("mirrors of others", "reach", _spec("  - {match: [{port: 80}], mirrors: [{destination: {host: tap.evil.svc.cluster.local}}], route: [{destination: {host: reviews.shop.svc.cluster.local}}]}")),
    Attack("a gateway of others", "reach", _spec("  - {match: [{port: 80}], directResponse: {status: 200}}", more="  gateways: [istio-ingress/public]\n")),
    Attack("a gateway in a match", "reach", _spec("  - {match: [{port: 80, gateways: [istio-ingress/public]}], directResponse: {status: 200}}")),
    Attack("a delegate", "reach", _spec("  - {match: [{port: 80}], delegate: {name: x, namespace: evil}}")),
    Attack("another name", "reach", _spec("  - {match: [{port: 80}], directResponse: {status: 200}}", top="metadata: {name: other}\n")),
    Attack("another namespace", "reach", _spec("  - {match: [{port: 80}], directResponse: {status: 200}}", top="metadata: {namespace: kube-system}\n")),
    Attack("other owners", "reach", _spec("  - {match: [{port: 80}], directResponse: {status: 200}}", top="metadata: {ownerReferences: [{kind: Node, name: n, uid: u, apiVersion: v1}]}\n")),
    Attack("a finalizer", "reach", _spec("  - {match: [{port: 80}], directResponse: {status: 200}}", top="metadata: {finalizers: [a/b]}\n")),
    Attack("our own marks", "reach", _spec("  - {match: [{port: 80}], directResponse: {status: 200}}", top="metadata: {annotations: {virtualservice-operator.dev/policies: other}}\n")),
    Attack("Argo's tracking key", "reach", _spec("  - {match: [{port: 80}], directResponse: {status: 200}}", top="metadata: {annotations: {argocd.argoproj.io/tracking-id: x}}\n")),
    Attack("another kind", "reach", "apiVersion: v1\nkind: Secret\nmetadata: {name: x}\nstringData: {a: b}\n"),
    Attack("a status", "reach", _spec("  - {match: [{port: 80}], directResponse: {status: 200}}") + "status: {}\n"),
    Attack("TCP and TLS", "reach", _spec("  - {match: [{port: 80}], directResponse: {status: 200}}", more="  tcp: [{route: [{destination: {host: evil.example.com}}]}]\n")),
    Attack("the catch-all taken away", "reach", "apiVersion: networking.istio.io/v1\nkind: VirtualService\nspec:\n  hosts: [reviews.shop.svc.cluster.local]\n  http:\n  - {match: [{port: 80, uri: {exact: /}}], directResponse: {status: 200}}\n"),
    Attack("everything answered first", "reach", _spec("  - {directResponse: {status: 200}}")),
)  # fmt: skip

_OF_EACH: Final = '  - match: [{uri: {exact: "/{{ WHOSE }}/{{ i }}"}}]\n    directResponse: {status: 200BODY}\n'
_LONG_BODY: Final = ', body: {string: "{{ t ~ t ~ t ~ t }}"}'


def _of_each(whose: str, count: int, body: str = "") -> str:
    rules = _OF_EACH.replace("WHOSE", whose).replace("BODY", body)
    long = "{% set t = " + repr("😀" * 100) + " %}{% set t = t ~ t ~ t ~ t ~ t ~ t ~ t ~ t ~ t ~ t %}"
    return long + _spec(f"{{% for i in range({count}) %}}\n{rules}{{% endfor %}}")


# Rendered for each of many developers; what each comes to is permitted.
MANY: Final = (
    Attack("many rules of each", "memory", _of_each("DeveloperName", 250)),
    Attack("many rules that are equal", "memory", _of_each("ServiceName", 250)),
    Attack("long bodies of each", "memory", _of_each("DeveloperName", 12, _LONG_BODY)),
    Attack("long bodies that are equal", "memory", _of_each("ServiceName", 12, _LONG_BODY)),
)
