"""
What may be written in a template: an allow-list of syntax, looked at before anything is compiled.

Size and number are bounded first, over all texts of a policy together; so the rest takes a bounded time.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeGuard

from jinja2 import Environment, nodes

from virtualservice_operator.templates.base import BLOCKS

SOURCE_LIMIT: Final = 64 * 1024
CODE_LIMIT: Final = 12 * 1024
TOKEN_LIMIT: Final = 4_000
NODE_LIMIT: Final = 3_000
DEPTH_LIMIT: Final = 40
BRACKET_LIMIT: Final = 24
LOOP_DEPTH: Final = 6

BASE: Final = "base"
VARIABLES: Final = frozenset(
    {
        *("ServiceName", "ServiceNamespace", "DeveloperName", "DeveloperNamespace", "DeveloperHost"),
        *("ServiceFQDN", "ClusterDomain", "ServiceLabels", "ServiceAnnotations", "ServicePorts"),
        *("Developers", "PolicyName", "DeveloperRules", "SourceRules", "UnknownRules", "DefaultRules", "DefaultRule"),
    }
)
FUNCTIONS: Final = frozenset({"fragment", "fqdn", "re_escape", "range", "super"})
_LOOP: Final = "loop"
_FRAGMENT: Final = "fragment"

_ALLOWED: Final = (
    *(nodes.Template, nodes.Output, nodes.TemplateData, nodes.Extends, nodes.Block, nodes.Include),
    *(nodes.For, nodes.If, nodes.With, nodes.Assign, nodes.AssignBlock, nodes.FilterBlock),
    *(nodes.Name, nodes.Const, nodes.List, nodes.Tuple, nodes.Dict, nodes.Pair, nodes.Keyword, nodes.CondExpr),
    *(nodes.Filter, nodes.Test, nodes.Call, nodes.Getattr, nodes.Getitem, nodes.Slice, nodes.Concat),
    *(nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not, nodes.Neg, nodes.Pos),
    *(nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Mod),
)
_WORDS: Final[Mapping[type[nodes.Node], str]] = {
    nodes.Import: "import",
    nodes.FromImport: "import",
    nodes.Macro: "macro",
    nodes.CallBlock: "call",
    nodes.Pow: "**",
    nodes.NSRef: "an attribute as the target of set",
}
_OPEN, _CLOSE = frozenset("([{"), frozenset(")]}")


class Forbidden(Exception):  # noqa: N818 - it says what happened
    """Something that may not be written: in which template, on which line, and what to write instead."""

    def __init__(self, template: str, line: int, message: str) -> None:
        super().__init__(message)
        self.template = template
        self.line = line
        self.message = message


# ---- before parsing


def check_size(sources: Mapping[str, str]) -> None:
    """Refuse more text than a policy needs."""
    size = sum(len(text) for text in sources.values())
    if size > SOURCE_LIMIT:
        name = max(sources, key=lambda found: len(sources[found]))
        raise Forbidden(
            name, 1, f"the texts have {size} characters together; the limit is {SOURCE_LIMIT}; shorten them"
        )


class Counter:
    """Counts the code of all texts of a policy together: so much takes the parser and the compiler so long."""

    def __init__(self) -> None:
        self._tokens = 0
        self._code = 0
        self._nodes = 0

    def take_code(self, environment: Environment, name: str, source: str) -> None:
        """Refuse very much code, and brackets in brackets in brackets, before anything is parsed."""
        depth = 0
        for line, kind, value in environment.lexer.tokeniter(source, name):
            if kind == "data":
                continue
            self._tokens += 1
            self._code += len(value)
            if kind == "operator":
                depth += (value in _OPEN) - (value in _CLOSE)
            if self._tokens > TOKEN_LIMIT or self._code > CODE_LIMIT:
                raise Forbidden(name, line, f"there is more code than {TOKEN_LIMIT} words or {CODE_LIMIT} characters")
            if depth > BRACKET_LIMIT:
                raise Forbidden(name, line, f"brackets are nested more than {BRACKET_LIMIT} deep")

    def take_node(self, name: str, line: int) -> None:
        """Refuse very many parts."""
        self._nodes += 1
        if self._nodes > NODE_LIMIT:
            raise Forbidden(name, line, f"the templates have more than {NODE_LIMIT} parts; make them smaller")


# ---- after parsing, before compiling


@dataclass(frozen=True, slots=True)
class Parsed:
    """A template's tree, all its nodes with their lines, the names it sets, and the templates it names."""

    name: str
    tree: nodes.Template
    all_nodes: tuple[tuple[nodes.Node, int], ...]
    assigned: frozenset[str]
    references: tuple[tuple[str, int], ...]


def walk(name: str, tree: nodes.Template, counter: Counter) -> Parsed:
    """Go through a tree once, without recursion; refuse what is too large or too deep."""
    found: list[tuple[nodes.Node, int]] = []
    waiting: list[tuple[nodes.Node, int, int, int]] = [(tree, 0, 0, 1)]
    while waiting:
        node, depth, loops, line = waiting.pop()
        line = getattr(node, "lineno", None) or line
        loops += isinstance(node, nodes.For)
        counter.take_node(name, line)
        if depth > DEPTH_LIMIT:
            raise Forbidden(name, line, f"an expression is nested more than {DEPTH_LIMIT} deep")
        if loops > LOOP_DEPTH:
            raise Forbidden(name, line, f"loops are nested more than {LOOP_DEPTH} deep")
        found.append((node, line))
        waiting.extend((child, depth + 1, loops, line) for child in _children(node))
    assigned = (node.name for node, _ in found if isinstance(node, nodes.Name) and node.ctx != "load")
    return Parsed(name, tree, tuple(found), frozenset(assigned), tuple(_references(found)))


def _children(node: nodes.Node) -> Iterator[nodes.Node]:
    """Yield what a node holds; the name of a function that is called is looked at with the call."""
    for child in node.iter_child_nodes():
        if not (isinstance(node, nodes.Call) and child is node.node and isinstance(child, nodes.Name)):
            yield child


def _references(found: Sequence[tuple[nodes.Node, int]]) -> Iterator[tuple[str, int]]:
    """Yield the templates that one names, by extends, include and fragment."""
    for node, line in found:
        target: nodes.Node | None = None
        if isinstance(node, nodes.Extends | nodes.Include):
            target = node.template
        elif _is_fragment(node):
            target = node.args[0] if node.args else None
        if isinstance(target, nodes.Const) and isinstance(target.value, str):
            yield target.value, line


def _is_fragment(node: nodes.Node) -> TypeGuard[nodes.Call]:
    return isinstance(node, nodes.Call) and isinstance(node.node, nodes.Name) and node.node.name == _FRAGMENT


def fragments(parsed: Parsed) -> dict[tuple[str, int], str]:
    """Return the include that is read as data on a line, by template and line; the first of several."""
    found = [node for node, _ in parsed.all_nodes if _is_fragment(node)]
    return {(parsed.name, node.lineno): node.args[0].value for node in reversed(found)}  # type: ignore[attr-defined]


def check(parsed: Parsed, known: Collection[str], assigned: Collection[str]) -> None:
    """
    Refuse what is not on the list.

    `known`: the templates that may be named; `assigned`: names that some template of the policy sets.
    """
    checker = _Checker(parsed.name, known, assigned)
    for node, line in parsed.all_nodes:
        checker.check(node, line)


def refuse_cycles(edges: Mapping[str, Collection[tuple[str, int]]]) -> None:
    """Refuse templates that lead back to themselves."""
    done: set[str] = set()
    for start in edges:
        path: list[str] = []
        waiting = [(start, iter(edges[start]))]
        path.append(start)
        while waiting:
            name, following = waiting[-1]
            step = next(following, None)
            if step is None:
                waiting.pop()
                path.pop()
                done.add(name)
                continue
            target, line = step
            if target in path:
                raise Forbidden(name, line, f"{target} leads back to itself: {' -> '.join([*path, target])}")
            if target not in done and target in edges:
                waiting.append((target, iter(edges[target])))
                path.append(target)


def refuse_unknown_blocks(parsed: Sequence[Parsed]) -> None:
    """Refuse blocks that the parent does not have: Jinja leaves them out without a word."""
    by_name = {item.name: item for item in parsed}
    for item in parsed:
        parent = _parent(item)
        known = _blocks_of(parent, by_name) if parent is not None else ()
        for node in item.tree.body:
            if parent is not None and isinstance(node, nodes.Block) and node.name not in known:
                there = f"its blocks are {', '.join(known)}" if known else "it has none"
                raise Forbidden(item.name, node.lineno, f"{parent} has no block {node.name}; {there}")


def _parent(parsed: Parsed) -> str | None:
    """Return the template that one always extends."""
    found = (node.template for node in parsed.tree.body if isinstance(node, nodes.Extends))
    return next((node.value for node in found if isinstance(node, nodes.Const)), None)


def _blocks_of(name: str | None, by_name: Mapping[str, Parsed]) -> list[str]:
    """Return the blocks of a template and of those that it extends."""
    found: dict[str, None] = {}
    while name is not None and name in by_name:
        found |= dict.fromkeys(node.name for node, _ in by_name[name].all_nodes if isinstance(node, nodes.Block))
        name = _parent(by_name[name])
    return [*found, *(block for block in BLOCKS if name == BASE and block not in found)]


class _Checker:
    def __init__(self, name: str, known: Collection[str], assigned: Collection[str]) -> None:
        self._name = name
        self._known = known
        self._assigned = assigned

    def check(self, node: nodes.Node, line: int) -> None:
        """Look at one node."""
        if type(node) not in _ALLOWED:
            word = _WORDS.get(type(node), type(node).__name__.lower())
            self._refuse(line, f"{word} is not available in templates")
        match node:
            case nodes.Name():
                self._check_name(node, line)
            case nodes.Call():
                self._check_call(node, line)
            case nodes.Extends() | nodes.Include():
                self._check_reference(node, line)
            case nodes.For(recursive=True):
                self._refuse(line, "recursive loops are not available; write the loops out")
            case nodes.Getattr(attr=attribute) if attribute.startswith("_"):
                self._refuse(line, f"{attribute} begins with an underscore; such attributes are not available")
            case nodes.Filter() | nodes.Test() if node.dyn_args or node.dyn_kwargs:
                self._refuse(line, "arguments with * or ** are not available; write them out")
            case nodes.Const() if isinstance(node.value, complex | bytes):
                self._refuse(line, "only text and numbers can be written")

    def _check_name(self, node: nodes.Name, line: int) -> None:
        name = node.name
        if node.ctx != "load":
            if name in FUNCTIONS or name in VARIABLES or name == _LOOP or name.startswith("_"):
                self._refuse(line, f"{name} has a meaning already; choose another name")
            return
        if name in FUNCTIONS:
            self._refuse(line, f"{name} is a function; call it: {name}(…)")
        if name not in VARIABLES and name != _LOOP and name not in self._assigned:
            self._refuse(line, f"{name[:100]!r} is not a variable; the variables are {', '.join(sorted(VARIABLES))}")

    def _check_call(self, node: nodes.Call, line: int) -> None:
        if node.dyn_args or node.dyn_kwargs:
            self._refuse(line, "arguments with * or ** are not available; write them out")
        target = node.node
        if isinstance(target, nodes.Getattr):
            return  # the environment knows the methods
        if not isinstance(target, nodes.Name) or target.name not in FUNCTIONS:
            called = getattr(target, "name", "this")
            self._refuse(line, f"{called} cannot be called; the functions are {', '.join(sorted(FUNCTIONS))}")
        elif target.name == _FRAGMENT:
            first = node.args[0] if node.args else None
            self._check_target(first, line, _FRAGMENT)
            if len(node.args) > 1:
                self._refuse(
                    line, 'fragment takes one name; give variables by theirs: fragment("…", DeveloperName=d.name)'
                )

    def _check_reference(self, node: nodes.Extends | nodes.Include, line: int) -> None:
        word = "extends" if isinstance(node, nodes.Extends) else "include"
        if isinstance(node, nodes.Include) and node.ignore_missing:
            self._refuse(line, "ignore missing is not available: what is included is known")
        self._check_target(node.template, line, word)

    def _check_target(self, target: nodes.Node | None, line: int, word: str) -> None:
        if not isinstance(target, nodes.Const) or not isinstance(target.value, str):
            self._refuse(line, f"{word} needs a name in quotes, which is not put together")
        elif target.value not in self._known:
            names = ", ".join(sorted(self._known)) or "none"
            self._refuse(line, f"{word}: there is no include {target.value[:100]!r}; there are: {names}")

    def _refuse(self, line: int, message: str) -> None:
        raise Forbidden(self._name, line, message)
