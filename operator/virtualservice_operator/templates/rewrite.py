"""
The tree of a template, rewritten so that whatever costs time or memory passes through the environment.

That is: the passes of loops, concatenations, literals of lists and mappings, comparisons, pieces of text. The names of the
filters that do it cannot be written by anybody, and filters that take a name as text refuse them (environment.py).
"""

from collections.abc import Collection
from typing import Final

from jinja2 import nodes
from jinja2.visitor import NodeTransformer

# What `filter` … `endfilter` can do to YAML that stays YAML; any other filter takes its body as text.
BLOCK_FILTERS: Final = ("capitalize", "indent", "lower", "replace", "title", "trim", "upper")
# The one of these that leaves each text between its quotes as it is.
_HARMLESS: Final = "indent"
# Filters that put their arguments into what they return: there, what the author writes is his own too.
_PUT_IN: Final = ("replace", "trim")
# To look a name up, or to copy it, is a quarter of a step.
_NAME_SHIFT: Final = 2


def rewrite(tree: nodes.Template, name: str) -> nodes.Template:
    """Lead whatever costs anything through the environment."""
    opening = _opening(tree)
    rewritten: nodes.Template = _Rewriter(name, tree).visit(tree)
    rewritten.body.insert(0, _call("!charge", _size(rewritten.body) + opening))
    return rewritten


def edits_output(tree: nodes.Template) -> bool:
    """Tell whether what is printed can be changed afterwards, by `filter` … `endfilter`; of a tree that is as it was parsed."""
    return any(_changes(block.filter) for block in tree.find_all(nodes.FilterBlock))


def _changes(link: nodes.Expr | None) -> bool:
    while isinstance(link, nodes.Filter):
        if link.name in BLOCK_FILTERS and link.name != _HARMLESS:
            return True
        link = link.node
    return False


def _filtered(node: nodes.Expr, name: str, *arguments: object) -> nodes.Filter:
    made = nodes.Filter(node, name, [nodes.Const(argument) for argument in arguments], [], None, None)
    made.set_lineno(node.lineno)
    return made


def _const(value: object, line: int) -> nodes.Const:
    made = nodes.Const(value)
    made.set_lineno(line)
    return made


def _listed(items: list[nodes.Expr], line: int) -> nodes.List:
    made = nodes.List(items)
    made.set_lineno(line)
    return made


def _call(name: str, number: int) -> nodes.ExprStmt:
    """Return a statement that gives a number to a filter and prints nothing; it is not left out after `extends`."""
    made = nodes.ExprStmt(_filtered(_const(number, 1), name))
    made.set_lineno(1)
    return made


def _opening(node: nodes.Node) -> int:
    """Return what a template or block costs before its first statement: names are looked up, blocks are entered in a table."""
    names = {name.name for name in node.find_all(nodes.Name)}
    return len(names) + sum(1 for _ in node.find_all(nodes.Block)) >> _NAME_SHIFT


def _size(body: Collection[nodes.Node]) -> int:
    """Return how many nodes are gone through when a body is; loops and blocks in it charge for themselves."""
    waiting, count = list(body), 0
    while waiting:
        node = waiting.pop()
        count += 1
        if not isinstance(node, nodes.Block):
            waiting.extend(node.iter_child_nodes(exclude=("body", "else_") if isinstance(node, nodes.For) else ()))
    return count


class _Rewriter(NodeTransformer):
    """Marked names are those of filters that only this module can write."""

    def __init__(self, name: str, tree: nodes.Template) -> None:
        self._name = name
        self._assigned = len({node.name for node in tree.find_all(nodes.Name) if node.ctx != "load"})

    def visit_Output(self, node: nodes.Output) -> nodes.Node:  # noqa: N802 - jinja's names
        # A tuple is a piece of the template itself, with its line: no expression can be one.
        node.nodes = [
            _const((part.data, part.lineno, self._name), part.lineno)
            if isinstance(part, nodes.TemplateData)
            else self.visit(part)
            for part in node.nodes
        ]
        return node

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        cost = 1 + _size(node.body) + (_size([node.test]) if node.test is not None else 0)
        if isinstance(node.iter, nodes.Expr):  # it always is
            node.iter = _filtered(node.iter, "!each", cost)
        return node

    def visit_Block(self, node: nodes.Block) -> nodes.Node | list[nodes.Node]:  # noqa: N802
        opening = _opening(node)
        self.generic_visit(node)
        node.body = [_call("!enter", _size(node.body) + opening), *node.body, _call("!leave", 0)]
        return self._with_context(node) if node.scoped else node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _filtered(_listed(node.nodes, node.lineno), "!concat")

    def visit_List(self, node: nodes.List) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _filtered(node, "!settle")

    def visit_Dict(self, node: nodes.Dict) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _filtered(node, "!settle")

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        if node.ctx != "load":
            return node
        return _filtered(_listed(node.items, node.lineno), "!settle")

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        if isinstance(node.arg, nodes.Slice):
            return _filtered(node, "!settle")
        return node

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        node.expr = _filtered(node.expr, "!weigh")
        for operand in node.ops:
            operand.expr = _filtered(operand.expr, "!weigh_haystack" if operand.op in ("in", "notin") else "!weigh")
        return node

    def visit_Const(self, node: nodes.Const) -> nodes.Expr:  # noqa: N802
        if isinstance(node.value, str):
            return _filtered(node, "!literal")
        return node

    def visit_FilterBlock(self, node: nodes.FilterBlock) -> nodes.Node:  # noqa: N802
        """Print what it comes to like anything else."""
        self.generic_visit(node)
        link: nodes.Expr | None = node.filter
        while isinstance(link, nodes.Filter):
            if link.name in BLOCK_FILTERS:
                link.name = f"!{link.name}"
            link = link.node
        node.filter = _filtered(node.filter, "!print")
        return node

    def visit_Filter(self, node: nodes.Filter) -> nodes.Node:  # noqa: N802
        """Arguments are seldom printed: they stay as they are, but for what they hold."""
        if node.node is not None:
            node.node = self.visit(node.node)
        visit = self.visit if node.name in _PUT_IN else self._argument
        node.args = [visit(argument) for argument in node.args]
        for keyword in node.kwargs:
            keyword.value = visit(keyword.value)
        return node

    def visit_Include(self, node: nodes.Include) -> list[nodes.Node]:  # noqa: N802
        return self._with_context(node)  # its name stays a name

    def visit_Extends(self, node: nodes.Extends) -> nodes.Node:  # noqa: N802
        return node

    def visit_Pair(self, node: nodes.Pair) -> nodes.Node:  # noqa: N802
        node.key, node.value = self._argument(node.key), self.visit(node.value)
        return node

    def _with_context(self, node: nodes.Node) -> list[nodes.Node]:
        """Return a statement for which Jinja copies all variables, those of loops too, and what takes fuel for it."""
        return [_call("!enter_context", self._assigned), node, _call("!leave", 0)]

    def _argument(self, node: nodes.Expr) -> nodes.Expr:
        if isinstance(node, nodes.Const):
            return node
        visited: nodes.Expr = self.visit(node)
        return visited
