"""
One rendering, whole: texts of a policy -> checked, compiled, rendered, parsed -> plain data, or what is wrong and where.

It runs in the worker. It keeps what it compiled, so that a policy costs its compilation once.
"""

import warnings
from collections import ChainMap, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final

from jinja2 import BaseLoader, TemplateSyntaxError, UndefinedError, nodes
from jinja2.environment import Environment, Template
from jinja2.exceptions import TemplateNotFound, TemplateRuntimeError
from jinja2.runtime import Context

from virtualservice_operator.printable import printable
from virtualservice_operator.templates import base, syntax
from virtualservice_operator.templates.environment import HardenedEnvironment, context_cost
from virtualservice_operator.templates.guard import Loaded, Unacceptable
from virtualservice_operator.templates.helpers import HELPERS, Arguments, Helper, Keywords
from virtualservice_operator.templates.marks import Marks, refuse_marks
from virtualservice_operator.templates.rendering import Rendering
from virtualservice_operator.templates.rewrite import edits_output, rewrite
from virtualservice_operator.templates.syntax import Forbidden
from virtualservice_operator.templates.values import MESSAGE_LIMIT, Refused

Answer = dict[str, Any]
_KEPT: Final = 128
# What parsing costs a template that parses fragments in a loop.
_STEPS_PER_EVENT: Final = 4


@dataclass(frozen=True, slots=True)
class Compiled:
    """
    The templates of a policy, by name.

    `edits_output`: one of them changes what was printed before it is parsed. `fragments`: the include that is read as data
    on a line, by template and line.
    """

    templates: Mapping[str, Template]
    edits_output: bool
    fragments: Mapping[tuple[str, int], str]


class Renderer:
    """Renders jobs; a job names a set of texts by its digest, and the text in it where it begins."""

    def __init__(self) -> None:
        self._compiled: OrderedDict[str, Compiled] = OrderedDict()
        self._refused: OrderedDict[str, Answer] = OrderedDict()
        self._environment = HardenedEnvironment(_Loader(self))
        self._base = self._compile({syntax.BASE: base.TEXT}, "").templates[syntax.BASE]

    def load(self, digest: str, sources: Mapping[str, str]) -> Answer:
        """Check and compile the texts of a policy; what came of it is kept under their digest."""
        try:
            _keep(self._compiled, digest, self._compile(sources, digest))
        except Forbidden as error:
            answer = refusal(error.template, error.line, error.message)
            _keep(self._refused, digest, answer)
            return answer
        return {"ok": True}

    def known(self, digest: str) -> Answer | None:
        """Return what came of texts that were loaded before; None where they were not."""
        if digest in self._compiled:
            self._compiled.move_to_end(digest)
            return {"ok": True}
        if digest in self._refused:
            self._refused.move_to_end(digest)
        return self._refused.get(digest)

    def find(self, name: str) -> Template:
        """Return a template by its full name."""
        digest, _, short = name.rpartition(":")
        if short == syntax.BASE:
            return self._base
        return self._compiled[digest].templates[short]

    def render(self, digest: str, entry: str, variables: Mapping[str, Any]) -> Answer:
        """Return the data that a template comes to with some variables, with the line of each field."""
        compiled = self._compiled[digest]
        rendering = self._environment.rendering = Rendering(marks=Marks(is_strict=compiled.edits_output))
        try:
            found = self._load_yaml(self._text(self.find(f"{digest}:{entry}"), variables, digest), rendering)
        except Unacceptable as error:
            name, line = rendering.origin(error.line)
            return refusal(_short(name) or entry, line, error.message)
        except Placed as error:
            return refusal(error.template, error.line, str(error))
        except _EXPECTED as error:
            name, line = _place(error.__traceback__)
            return refusal(_short(name) or entry, line, _say(error))
        lines = {path: _placed(rendering, line, entry, compiled.fragments) for path, line in found.lines.items()}
        return {"ok": True, "value": found.data, "lines": lines}

    def _text(self, template: Template, variables: Mapping[str, Any], digest: str) -> str:
        def fragment(context: Context, arguments: Arguments, keywords: Keywords) -> Any:
            return self._fragment(context, arguments[0], digest, keywords)

        context = template.new_context({**variables, **HELPERS, "fragment": Helper(fragment, reads=True)})
        return "".join(template.root_render_func(context))

    def _fragment(self, context: Context, name: str, digest: str, more: Mapping[str, Any]) -> Any:
        """Return an include as data: rendered with the variables of the moment, and parsed."""
        template = self.find(f"{digest}:{name}")
        outer = self._environment.rendering
        outer.budget.spend(2 * context_cost(context, len(more)))
        inner = self._environment.rendering = Rendering(outer.budget, outer.marks)
        try:
            made = template.new_context({**context.get_all(), **more})
            text = "".join(template.root_render_func(made))
            found = self._load_yaml(text, inner)
        except Unacceptable as error:
            place, line = inner.origin(error.line)
            raise Placed(_short(place) or name, line, error.message) from None
        finally:
            self._environment.rendering = outer
        outer.budget.spend(_STEPS_PER_EVENT * found.events)
        return found.data

    def _load_yaml(self, text: str, rendering: Rendering) -> Loaded:
        return rendering.marks.load(text)

    def _compile(self, sources: Mapping[str, str], digest: str) -> Compiled:
        syntax.check_size(sources)
        counter = syntax.Counter()
        parsed = [syntax.walk(name, self._parse(name, source, counter), counter) for name, source in sources.items()]
        assigned = frozenset[str]().union(*(item.assigned for item in parsed))
        known = {syntax.BASE, *sources} - set(_ENTRIES)
        for item in parsed:
            syntax.check(item, known, assigned)
        syntax.refuse_cycles({item.name: item.references for item in parsed})
        syntax.refuse_unknown_blocks(parsed)
        edits = any(edits_output(item.tree) for item in parsed)
        fragments = dict(ChainMap(*map(syntax.fragments, parsed)))
        return Compiled({item.name: self._build(item.name, item.tree, digest) for item in parsed}, edits, fragments)

    def _parse(self, name: str, source: str, counter: syntax.Counter) -> nodes.Template:
        try:
            refuse_marks(source)
            counter.take_code(self._environment, name, source)
            return self._environment.parse(source, name)
        except TemplateSyntaxError as error:
            raise Forbidden(name, error.lineno, _syntax(error)) from None
        except Refused as error:
            raise Forbidden(name, 1, str(error)) from None
        except (RecursionError, ValueError, OverflowError) as error:
            raise Forbidden(name, 1, f"it cannot be read: {printable(str(error))}") from None

    def _build(self, name: str, tree: nodes.Template, digest: str) -> Template:
        full = f"{digest}:{name}"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SyntaxWarning)  # Python's opinion of `1[0]` is nobody's business here
                code = self._environment.compile(rewrite(tree, name), full)
        except TemplateSyntaxError as error:
            raise Forbidden(name, error.lineno, _syntax(error)) from None
        except (SyntaxError, RecursionError, ValueError, OverflowError) as error:
            raise Forbidden(name, 1, f"it cannot be compiled: {printable(str(error))}") from None
        return Template.from_code(self._environment, code, {})


# What an expression can come to; anything else is a bug, and the worker says so.
_EXPECTED: Final = (
    *(Refused, UndefinedError, TemplateRuntimeError),
    *(TypeError, ValueError, ArithmeticError, LookupError, AttributeError, RecursionError),
)
_ENTRIES: Final = ("virtualService", "developerRoutes")


class Placed(Refused):
    """A refusal whose place is known."""

    def __init__(self, template: str, line: int, message: str) -> None:
        super().__init__(message)
        self.template = template
        self.line = line


class _Loader(BaseLoader):
    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer

    def load(self, environment: Environment, name: str, globals: Any = None) -> Template:  # noqa: A002, ARG002 - as Jinja has it
        try:
            return self._renderer.find(name)
        except KeyError:
            raise TemplateNotFound(name) from None


def _keep(kept: OrderedDict[str, Any], digest: str, value: Any) -> None:
    kept[digest] = value
    kept.move_to_end(digest)
    if len(kept) > _KEPT:
        kept.popitem(last=False)


def refusal(template: str, line: int, message: str) -> Answer:
    """Return the answer to a job that comes to nothing."""
    return {"ok": False, "template": template, "line": line, "message": printable(message, MESSAGE_LIMIT)}


def _place(trace: TracebackType | None) -> tuple[str, int]:
    """Return the template and line where an error was raised: the innermost frame that belongs to a template."""
    name, line = "", 1
    while trace is not None:
        template = trace.tb_frame.f_globals.get("__jinja_template__")
        if template is not None:
            name, line = template.name or "", template.get_corresponding_lineno(trace.tb_lineno)
        trace = trace.tb_next
    return name, line


def _placed(rendering: Rendering, line: int, entry: str, fragments: Mapping[tuple[str, int], str]) -> list[Any]:
    """Return the template and line of a line of the output, with the include whose data is printed there."""
    name, found = rendering.origin(line)
    template = _short(name) or entry
    fragment = fragments.get((template, found))
    return [template if fragment is None else f"{template} (fragment {fragment})", found]


def _short(name: str) -> str:
    return name.rpartition(":")[2]


def _say(error: Exception) -> str:
    if isinstance(error, Refused):
        return str(error)
    if isinstance(error, RecursionError):
        return "it goes too deep; make it simpler"
    if isinstance(error, AttributeError):
        return "this cannot be computed: the value is not of the kind that the filter is for"
    if isinstance(error, UndefinedError):
        return f"{printable(str(error))}; test it with `is defined`, or give it a default: {{{{ x | default('…') }}}}"
    return f"this cannot be computed: {printable(str(error))}"


def _syntax(error: TemplateSyntaxError) -> str:
    return printable(error.message or "it cannot be read")
