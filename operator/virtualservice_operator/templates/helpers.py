"""
The functions that a template can call by name.

Each takes the context, the arguments and the keywords of a call, so that a wrong call is said in our words.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from jinja2.runtime import Context

from virtualservice_operator.templates.values import TEXTS, Refused

RANGE_LIMIT: Final = 1_000
Arguments = tuple[Any, ...]
Keywords = Mapping[str, Any]


class Helper:
    """
    A function of templates; nothing else that has no owner can be called.

    `reads`: what it returns is made of more than what it is given.
    """

    __slots__ = ("_function", "reads")

    def __init__(self, function: Callable[[Context, Arguments, Keywords], Any], *, reads: bool = False) -> None:
        self._function = function
        self.reads = reads

    def __call__(self, context: Context, arguments: Arguments, keywords: Keywords) -> Any:
        """Call it."""
        return self._function(context, arguments, keywords)


def _fqdn(context: Context, arguments: Arguments, keywords: Keywords) -> str:
    if len(arguments) != 2 or keywords or not all(type(item) in TEXTS for item in arguments):  # noqa: PLR2004 - name, namespace
        raise Refused("fqdn takes a name and a namespace: fqdn(ServiceName, DeveloperNamespace)")
    name, namespace = arguments
    return f"{name}.{namespace}.svc.{context['ClusterDomain']}"


def _re_escape(_context: Context, arguments: Arguments, keywords: Keywords) -> str:
    if len(arguments) != 1 or keywords or type(arguments[0]) not in TEXTS:
        raise Refused("re_escape takes one text: re_escape(DeveloperName)")
    return re.escape(str(arguments[0]))


def _range(_context: Context, arguments: Arguments, keywords: Keywords) -> list[int]:
    try:
        found = range(*arguments, **keywords)
        count = len(found)
    except (TypeError, ValueError):
        raise Refused("range takes one to three whole numbers, and no step of 0") from None
    except OverflowError:
        count = RANGE_LIMIT + 1
    if count > RANGE_LIMIT:
        raise Refused(f"range has more than {RANGE_LIMIT} numbers; take fewer")
    return list(found)


HELPERS: Final = {"fqdn": Helper(_fqdn), "re_escape": Helper(_re_escape), "range": Helper(_range)}
