"""
Jinja's sandbox, hardened: what an expression may reach, call, compute and print.

The stock sandbox bounds neither time nor memory, folds constants while it compiles, and has been escaped through
string formatting. Here only plain data has attributes, only listed functions and methods can be called, every
operation is bounded, and every byte that is printed passes through `_print`.
"""

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any, Final

from jinja2 import StrictUndefined, Undefined, pass_context
from jinja2.runtime import BlockReference, Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment

from virtualservice_operator.templates import functions
from virtualservice_operator.templates.helpers import Helper
from virtualservice_operator.templates.marks import finish, refuse_marks
from virtualservice_operator.templates.rendering import Rendering
from virtualservice_operator.templates.rewrite import BLOCK_FILTERS
from virtualservice_operator.templates.values import TEXT_LIMIT, TEXTS, Budget, Finished, Literal, Refused

_NUMBERS: Final = (int, float)
# What a context of its own costs, for an include or a fragment, beside a quarter of a step for each name in it.
_CONTEXT_STEPS: Final = 8
_NAME_SHIFT: Final = 2


def context_cost(context: Context, names: int = 0) -> int:
    """Return the steps that a copy of a context takes; `names`: how many variables of loops and blocks it has at most."""
    count = len(context.vars) + len(context.parent) + len(context.blocks) + names
    return _CONTEXT_STEPS + (count >> _NAME_SHIFT)


class HardenedEnvironment(ImmutableSandboxedEnvironment):
    """The environment of all templates; `rendering` is the one that goes on."""

    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%", "**"})
    intercepted_unops = frozenset({"+", "-"})

    def __init__(self, loader: Any) -> None:
        super().__init__(
            loader=loader,
            undefined=StrictUndefined,
            autoescape=False,
            optimized=False,
            finalize=_print,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
            cache_size=0,
            auto_reload=False,
        )
        self.rendering = Rendering()
        self.filters.clear()
        self.filters.update(functions.bounded_filters(self._budget, self._tojson))
        self.filters.update(self._hidden_filters())
        self.tests.clear()
        self.tests.update(functions.bounded_tests(self._budget))
        self.globals.clear()

    def _budget(self) -> Budget:
        return self.rendering.budget

    def _tojson(self, value: Any) -> Finished:
        text = functions.to_json(value)
        functions.charge_json(self.rendering.budget, text)
        if type(value) is Literal:
            return Finished(text)
        found = self.rendering.marks.wrap_json(text)
        self.rendering.budget.spend(len(found.marked) - len(text) >> 2)  # a mark has four characters at least
        return found

    def concat(self, pieces: Any) -> str:
        """Return the text of a block: its parts were printed already."""
        text = "".join(pieces)
        self.rendering.budget.spend(len(text) >> 6)
        return finish(text)

    def join_path(self, template: str, parent: str) -> str:
        """Return the full name of an include: those of one policy know only each other."""
        return (
            template if template == "base" else f"{parent.partition(':')[0]}:{template}" if ":" in parent else template
        )

    # ---- what can be reached

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Return a field, or a method that is listed; nothing else has attributes."""
        kind = type(obj)
        if kind is dict:
            if attribute in functions.MAPPING_METHODS:
                return getattr(obj, attribute)  # a field of this name is reached by obj["items"]
            if attribute in obj:
                return obj[attribute]
        elif kind in TEXTS:
            if attribute in functions.STRING_METHODS:
                return getattr(obj, attribute)
        elif kind is LoopContext:
            if attribute in functions.LOOP_ATTRIBUTES:
                return getattr(obj, attribute)
        elif isinstance(obj, Undefined):
            str(obj)  # raises: it says what is not there
        return self.undefined(f"{_describe(obj)} has no field {attribute[:100]!r}")

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Return an item by key or number."""
        kind = type(obj)
        if kind is dict or kind is list or kind in TEXTS:
            if isinstance(argument, Undefined):
                str(argument)
            try:
                return obj[argument]
            except (LookupError, TypeError):
                return self.undefined(f"{_describe(obj)} has no item {str(argument)[:100]!r}")
        return self.getattr(obj, argument) if isinstance(argument, str) else self.undefined("this has no items")

    # ---- what syntax.py and rewrite.py lead through here

    def _hidden_filters(self) -> dict[str, Any]:
        """Return the filters whose names cannot be written."""

        def each(values: Any, cost: int) -> Iterator[Any]:
            limits = self._budget()
            kind = type(values)
            if isinstance(values, Undefined):
                str(values)
            if kind is not list and kind is not dict:
                raise Refused(f"for goes through lists and mappings; {_describe(values)} is none")
            for value in values:
                limits.spend(cost)
                yield value

        def settle(value: Any) -> Any:
            return self._budget().settle(value)

        def weigh(value: Any) -> Any:
            return value if isinstance(value, Undefined) else settle(value)

        def weigh_haystack(value: Any) -> Any:
            functions.charge_haystack(self._budget(), value)
            return weigh(value)

        return {
            "!each": each,
            "!settle": settle,
            "!weigh": weigh,
            "!weigh_haystack": weigh_haystack,
            "!literal": Literal,
            "!concat": lambda parts: _concat(self._budget(), parts),
            "!print": lambda value: _write(self.rendering, _text_of(self.rendering, value, type(value))),
            **{f"!{name}": _in_block(self.filters[name]) for name in BLOCK_FILTERS},
            **self._charges(),
        }

    def _charges(self) -> dict[str, Any]:
        """Return what takes fuel for bodies, and keeps count of the includes and blocks around what goes on."""

        def charge(cost: int) -> None:
            self._budget().spend(cost)

        def enter(cost: int) -> None:
            self.rendering.depth += 1
            self._budget().spend(cost)

        @pass_context
        def enter_context(context: Context, names: int) -> None:
            enter(context_cost(context, names))

        def leave(_: int) -> None:
            self.rendering.depth -= 1

        return {"!charge": charge, "!enter": enter, "!enter_context": enter_context, "!leave": leave}

    # ---- what can be called

    def call(__self, __context: Context, __obj: Any, *arguments: Any, **more: Any) -> Any:  # noqa: N805, PYI063 - as Jinja has it, so that no keyword can collide
        """Call a function of ours, or a method that `getattr` gave out."""
        budget = __self.rendering.budget
        for hidden in ("_loop_vars", "_block_vars"):
            more.pop(hidden, None)
        if type(__obj) is BlockReference:
            budget.spend(2)
            return __obj(*arguments, **more)
        if isinstance(__obj, Undefined):
            str(__obj)
        for item in (*arguments, *more.values()):
            budget.settle(item)
        if type(__obj) is Helper:
            functions.charge_characters(budget, arguments[0] if arguments else None)
            result = __obj(__context, arguments, more)
            return budget.settle(result if __obj.reads else functions.authored(result, (*arguments, *more.values())))
        owner: Any = getattr(__obj, "__self__", None)
        name = getattr(__obj, "__name__", "")
        if type(owner) in TEXTS and name in functions.STRING_METHODS:
            budget.settle(owner)
            if name in functions.SEARCHES:
                functions.charge_search(budget, name, (owner, *arguments, *more.values()), more)
            method = functools.partial(functions.replace, owner) if name == "replace" else __obj
            result = functions.to_plain(method(*arguments, **more))
            return budget.settle(functions.authored(result, (owner, *arguments, *more.values())))
        if type(owner) is dict and name in functions.MAPPING_METHODS:
            result = functions.to_plain(__obj(*arguments, **more))
            return result if name == "get" else budget.settle(result)
        raise Refused(f"{_describe(__obj)} cannot be called")

    def call_filter(self, name: str, *given: Any, **more: Any) -> Any:
        """Call a filter whose name is a value, as `map` does: one that a template could write."""
        if name not in functions.FILTER_NAMES:
            raise Refused(f"No filter named {str(name)[:100]!r}")
        return super().call_filter(name, *given, **more)

    def call_test(self, name: str, *given: Any, **more: Any) -> Any:
        """Call a test whose name is a value, as `select` does."""
        if name not in functions.TEST_NAMES:
            raise Refused(f"No test named {str(name)[:100]!r}")
        return super().call_test(name, *given, **more)

    # ---- what can be computed

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:  # noqa: ARG002 - as Jinja has it
        """Compute with numbers; + also joins texts and lists. Everything else is refused, with the way to write it."""
        budget = self.rendering.budget
        budget.spend(1)
        if type(left) in _NUMBERS and type(right) in _NUMBERS:
            try:
                return budget.settle(self.binop_table[operator](left, right))
            except ZeroDivisionError:
                raise Refused("a number is divided by zero") from None
        for side in (left, right):
            if isinstance(side, Undefined):
                str(side)
        if operator == "+" and type(left) in TEXTS and type(right) in TEXTS:
            return _concat(budget, [left, right])
        if operator == "+" and type(left) is list and type(right) is list:
            return budget.settle(budget.settle(left) + budget.settle(right))
        raise Refused(f"{operator} is for numbers; {_describe(left)} and {_describe(right)} are joined by ~ or +")

    def call_unop(self, context: Context, operator: str, argument: Any) -> Any:  # noqa: ARG002 - as Jinja has it
        """Compute with a number."""
        if type(argument) not in _NUMBERS:
            raise Refused(f"{operator} is for numbers")
        return self.unop_table[operator](argument)


_NAMES: Final = {bool: "true or false", type(None): "none", list: "a list", dict: "a mapping", LoopContext: "loop"}


def _describe(value: Any) -> str:
    kind = type(value)
    if kind in TEXTS:
        return "text"
    return "a number" if kind in _NUMBERS else _NAMES.get(kind, "this")


# ---- printing


@pass_context
def _print(context: Context, value: Any) -> str:
    """
    Return what is printed: pieces of the template as they are, data with marks.

    It takes the context, so Jinja cannot fold anything through it while compiling.
    """
    rendering: Rendering = context.environment.rendering  # type: ignore[attr-defined]
    kind = type(value)
    if kind is tuple:
        text, line, name = value
        rendering.note(text, name, line)
        return _write(rendering, text)
    text = _text_of(rendering, value, kind)
    if kind is not Finished:
        rendering.pass_over(text)
    return _write(rendering, text)


def _write(rendering: Rendering, text: str) -> str:
    rendering.budget.write(len(text), rendering.depth)
    return text


def _text_of(rendering: Rendering, value: Any, kind: type) -> str:
    if kind is str:
        rendering.budget.spend(1)
        return rendering.marks.wrap(value)
    if kind is Finished:
        return str(value.marked)
    if kind is Literal:
        return str(refuse_marks(value))
    if kind is bool:
        return "true" if value else "false"
    if kind is int or (kind is float and math.isfinite(value)):
        return repr(value)
    if isinstance(value, Undefined):
        return str(value)  # raises: it says which name is not there
    if kind in (list, dict, type(None)):
        raise Refused(f"{_describe(value)} is printed with | tojson")
    raise Refused(f"{_describe(value)} cannot be printed")


def _concat(budget: Budget, parts: list[Any]) -> Any:
    texts = []
    for part in parts:
        kind = type(part)
        if kind in TEXTS:
            texts.append(part)
        elif kind in (int, float, bool):
            texts.append(functions.to_string(part))
        elif isinstance(part, Undefined):
            str(part)
        else:
            raise Refused(f"{_describe(part)} cannot be joined to text; use tojson")
        budget.spend(1 + (len(texts[-1]) >> 6))
    if sum(map(len, texts)) > TEXT_LIMIT:
        raise Refused(f"a text is longer than {TEXT_LIMIT} characters")
    return functions.authored("".join(texts), parts)


def _in_block(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a filter for the body of a block, which stays YAML with its marks where the rest is the author's own."""

    def apply(body: Any, *arguments: Any, **more: Any) -> Any:
        if type(body) is Finished and functions.is_authored((*arguments, *more.values())):
            return finish(function(body.marked, *arguments, **more))
        return function(body, *arguments, **more)

    return apply
