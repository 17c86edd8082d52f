"""
Templates by chance, from a grammar of what Jinja and YAML have, in and out of what is allowed.

`make fuzz` tries new ones for a while, and keeps the seeds of those that were odd in seeds.txt; the tests try the kept
ones, and some more, each time. Odd is: the worker had to be killed, an exception that nobody expected, or 120 ms to render.
"""

import argparse
import json
import math
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from hostile.battery import ATTACKS, Attack
from hostile.layers import values
from virtualservice_operator.templates.process import Told, Worker
from virtualservice_operator.templates.syntax import VARIABLES

SEEDS: Final = Path(__file__).with_name("seeds.txt")
# What compiling may take, and rendering: each is half of what ends the worker, or less.
MOST_SECONDS: Final = (0.3, 0.12)
_DEEPEST: Final = 5
_WORDS: Final = ("a", "b", "c", "x")
_TEXTS: Final = ("''", "'a'", "'a: b'", "'\\n'", "'{}'", "'%s'", "'ä'", "'" + "x" * 300 + "'", "'__class__'", "'0777'")
_NUMBERS: Final = ("0", "1", "-1", "7", "1000", "1.5", "99999999999", "1e300", "0x10")
_FILTERS: Final = (
    *(
        "upper",
        "lower",
        "tojson",
        "length",
        "list",
        "first",
        "last",
        "sort",
        "unique",
        "join(',')",
        "join",
        "int",
        "float",
    ),
    *("string", "abs", "round", "sum", "min", "max", "reverse", "title", "trim", "default('d')", "replace('a', 'bb')"),
    *("map('upper')", "map(attribute='name')", "select", "reject('none')", "selectattr('http')", "groupby('name')"),
    *("dictsort", "items", "indent(2)", "indent(99)", "re_escape", "slice(3)"),
)
_WILD_FILTERS: Final = ("batch(3)", "format(1)", "attr('x')", "nope", "map('nope')", "center(99999)")
_METHODS: Final = ("upper()", "split(',')", "replace('a', 'b')", "items()", "get('a', 1)", "x", "name", "splitlines()")
_WILD_METHODS: Final = ("format(1)", "join([1])", "pop()", "__class__", "append(1)")
_TESTS: Final = ("defined", "none", "string", "number", "mapping", "odd", "divisibleby(0)", "in [1, 2]")
_OPERATORS: Final = ("+", "-", "*", "/", "//", "%", "~", "==", "!=", "<", ">", "in", "not in", "and", "or")
_WILD: Final = 0.2
_CROWDED: Final = 0.1
_PRELUDE: Final = "{% set a = 1 %}{% set b = ServiceName %}{% set c = [1, 'a'] %}{% set x = {'a': 1} %}"
_LINES: Final = (
    *(
        "a: 1",
        "- b",
        "a: &x 1",
        "b: *x",
        "<<: {a: b}",
        "---",
        "a: |",
        "  text",
        "'quoted': [1, 2]",
        "{a: b}",
        "# c",
        "? q",
    ),
    *("!!str a", "\t- x", "a: 'b", "a: [", "]", "}", "..."),
)


class Grammar:
    """
    Writes a template; the same for the same seed.

    Most are tame: they hold nothing that is refused before rendering, so that rendering is tried too.
    """

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._wild = self._random.random() < _WILD
        self._includes: tuple[str, ...] = ()
        self._crowd = random.Random(~seed)  # other numbers, so that the seeds of before are the templates of before

    def attack(self) -> Attack:
        """Return a template with includes; of tame ones, each names only those that are written before."""
        includes = {}
        for name in ("two", "one"):
            includes[name] = self.body(2)
            self._includes = ("one", "two", "base", "none") if self._wild else (name, *self._includes)
        values = self.pick(("a", "x: y", "a\nb: c", '"', "\u2028"))
        start, body = self.start(), self.body(0)
        return Attack("fuzz", "cpu", start + self.crowd(includes) + _PRELUDE + body, includes, values)

    def crowd(self, includes: dict[str, str]) -> str:
        """Return, now and then, many names and includes in includes, deep or wide; these are added."""
        if self._crowd.random() > _CROWDED:
            return ""
        deep, wide, sets = (self._crowd.choice(options) for options in ((1, 2, 5, 12), (1, 2, 3), (0, 20, 100)))
        names = [f"t{number}" for number in range(deep)]
        for name, inner in zip(names, [*names[1:], ""], strict=True):
            call = self._crowd.choice(("{{% include '{}' %}}", "{{% set x = fragment('{}') %}}")).format(inner)
            includes[name] = (
                self._crowd.choice(("", "a: 1\n", "# {{ ServiceName }}\n")) + (call if inner else "") * wide
            )
        calls = "{% include 't0' %}" * self._crowd.choice((1, 5))
        loops = self._crowd.choice((0, 1, 2))
        opened, closed = "{% for c in range(1000) %}" * loops, "{% endfor %}" * loops
        return "".join(f"{{% set v{number} = 1 %}}" for number in range(sets)) + opened + calls + closed

    def start(self) -> str:
        """Return how it begins."""
        return str(self.pick(("", "", "{% extends 'base' %}\n", "{% extends 'one' %}\n")))

    def word(self, tame: Sequence[str], wild: Sequence[str]) -> str:
        """Return one of some words; wild ones are refused."""
        return str(self.pick((*tame, *wild) if self._wild else tame))

    def body(self, depth: int) -> str:
        """Return some statements and text."""
        return "".join(self.statement(depth) for _ in range(self._random.randint(1, 5)))

    def statement(self, depth: int) -> str:
        """Return one statement, expression or line of text."""
        simple = (self.line, self.line, self.printed, self.printed, self.assignment, self.include)
        nested = (self.loop, self.choice, self.filtered, self.scope, *((self.block, self.odd) if self._wild else ()))
        return str(self.pick(simple if depth >= _DEEPEST else (*simple, *nested))(depth))

    def pick(self, options: Sequence[Any]) -> Any:
        """Return one of some options."""
        return self._random.choice(options)

    def line(self, _depth: int) -> str:
        """Return a line of YAML, good or bad."""
        return str(self.pick(_LINES)) + "\n"

    def printed(self, depth: int) -> str:
        """Return an expression that is printed, in some place."""
        place = self.pick(("{}\n", "k: {}\n", "- {}\n", 'k: "{}"\n', "[{}, 1]\n", "# {}\n"))
        return str(place.replace("{}", "{{ " + self.expression(depth) + " }}"))

    def assignment(self, depth: int) -> str:
        """Return a set."""
        return f"{{% set {self.pick(_WORDS)} = {self.expression(depth)} %}}\n"

    def include(self, _depth: int) -> str:
        """Return an include, perhaps of what is not there."""
        return f"{{% include '{self.pick(self._includes)}' %}}\n" if self._includes else ""

    def loop(self, depth: int) -> str:
        """Return a loop."""
        condition = f" if {self.expression(depth + 1)}" if self._random.random() < 0.2 else ""
        over = self.pick((f"range({self.pick(_NUMBERS)})", "ServicePorts", "ServiceLabels", self.expression(depth + 1)))
        return f"{{% for {self.pick(_WORDS)} in {over}{condition} %}}{self.body(depth + 1)}{{% endfor %}}\n"

    def choice(self, depth: int) -> str:
        """Return an if."""
        return f"{{% if {self.expression(depth + 1)} %}}{self.body(depth + 1)}{{% else %}}{self.body(depth + 1)}{{% endif %}}\n"

    def block(self, depth: int) -> str:
        """Return a block."""
        name = self.pick(("metadata", "default_rule", "mine"))
        return f"{{% block {name} %}}{self.pick(('', '{{ super() }}'))}{self.body(depth + 1)}{{% endblock %}}\n"

    def filtered(self, depth: int) -> str:
        """Return text that goes through a filter."""
        return f"{{% filter {self.word(_FILTERS, _WILD_FILTERS)} %}}{self.body(depth + 1)}{{% endfilter %}}\n"

    def scope(self, depth: int) -> str:
        """Return a with, or a set with a body."""
        if self._random.random() < 0.5:
            return f"{{% with {self.pick(_WORDS)} = {self.expression(depth)} %}}{self.body(depth + 1)}{{% endwith %}}\n"
        return f"{{% set {self.pick(_WORDS)} %}}{self.body(depth + 1)}{{% endset %}}\n"

    def odd(self, _depth: int) -> str:
        """Return what is not allowed, or another attack's text."""
        if self._random.random() < 0.3:
            return str(self.pick(ATTACKS).text[:2000])
        return str(
            self.pick(("{% macro m() %}x{% endmacro %}", "{% import 'one' as i %}", "{% raw %}", "{{", "%}", "{# "))
        )

    def expression(self, depth: int) -> str:
        """Return an expression."""
        atoms: tuple[Callable[[], str], ...] = (
            lambda: str(self.pick(_TEXTS)),
            lambda: str(self.pick(_NUMBERS)),
            lambda: str(self.pick(sorted(VARIABLES))),
            lambda: self.word((*_WORDS, "none", "true"), ("self", "loop", "unknown")),
            lambda: f"fragment('{self.pick(self._includes)}')" if self._includes else "c",
        )
        if depth >= _DEEPEST or self._random.random() < 0.3:
            return str(self.pick(atoms)())
        one, two = self.expression(depth + 1), self.expression(depth + 1)
        return str(
            self.pick(
                (
                    f"({one} {self.word(_OPERATORS, ('**',))} {two})",
                    f"({one}) | {self.word(_FILTERS, _WILD_FILTERS)}",
                    f"({one}).{self.word(_METHODS, _WILD_METHODS)}",
                    f"({one})[{two}]",
                    f"({one})[:{two}]",
                    f"[{one}, {two}]",
                    f"{{{one}: {two}}}",
                    f"({one} if {two} else {one})",
                    f"({one} is {self.word(_TESTS, ('nope',))})",
                    f"fqdn({one}, {two})",
                    f"(not {one})",
                    f"(-{one})",
                )
            )
        )


def try_seed(worker: Worker, seed: int, most: Sequence[float] = (math.inf, math.inf)) -> str:
    """
    Return what is odd about the template of a seed; '' where nothing is.

    `most`: so many seconds of CPU time compiling it may take, and rendering it.
    """
    attack = Grammar(seed).attack()
    check = {"digest": f"fuzz-{seed}", "sources": {"virtualService": attack.text, **attack.includes}}
    variables = json.dumps({**values(attack), "DefaultRule": {}, "PolicyName": "p"})
    job = {**check, "entry": "virtualService", "variables": variables}
    told = [worker.run([item])[0] for item in (check, job)]
    odd = (_oddity(item) or _slowness(item.cpu, limit) for item, limit in zip(told, most, strict=True))
    return next(filter(None, odd), "")


def _slowness(seconds: float, most: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds > most else ""


def _oddity(told: Told) -> str:
    if told.ended is not None:
        return told.ended.value
    if "it cannot be rendered: " in str(told.answer.get("message")):
        return str(told.answer["message"])
    return ""


def kept_seeds() -> list[int]:
    """Return the seeds that were odd once."""
    return [int(line.split()[0]) for line in SEEDS.read_text().splitlines() if line and not line.startswith("#")]


def main() -> None:
    """Try new seeds for some time; keep what is odd, and say so by the exit code."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    arguments = parser.parse_args()
    worker, found, count = Worker(log=print), {}, 0
    worker.run([{"digest": "warm", "sources": {"virtualService": "a: 1"}}])
    until, seed = time.monotonic() + arguments.seconds, random.SystemRandom().randrange(2**40)
    while time.monotonic() < until:
        seed, count = seed + 1, count + 1
        if odd := try_seed(worker, seed, MOST_SECONDS):
            found[seed] = odd
            print(f"seed {seed}: {odd}")
    worker.close()
    with SEEDS.open("a") as file:
        file.writelines(f"{number}  # {odd}\n" for number, odd in found.items())
    print(f"{count} templates, {len(found)} odd")
    raise SystemExit(bool(found))


if __name__ == "__main__":
    main()
