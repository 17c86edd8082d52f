"""The body of a rejection, looked at where the policy is: a mistake in it costs no Service, and no caller reads it."""

import re
from collections.abc import Iterator
from typing import Final

from virtualservice_operator.api.v1alpha1 import RoutingPolicySpec
from virtualservice_operator.core.variables import NAMES, substitute, unknown_variables
from virtualservice_operator.printable import printable

BODY_LIMIT: Final = 8192
# Services, namespaces and developers: none has a longer name.
_LONGEST_NAME: Final = 63
_SHOWN: Final = 60
# As a variable may be written here or elsewhere, with a filter or Go's dot. JSON holds double braces too, but no bare word
# between them.
_LIKE_A_VARIABLE: Final = re.compile(r"\.?[A-Za-z_][A-Za-z0-9_.]*\s*(\|.*)?", re.DOTALL)


def body_problems(spec: RoutingPolicySpec) -> Iterator[str]:
    """Yield what is wrong with `spec.copies.reject.body` and the schema cannot see. It depends on no Service."""
    body = spec.copies.reject.body if spec.copies is not None and spec.copies.reject is not None else None
    if body is None:
        return
    field = "spec.copies.reject.body"
    unknown = [name for name in unknown_variables(body) if _LIKE_A_VARIABLE.fullmatch(name)]
    if unknown:
        yield f"{field}: {{{{ {unknown[0]:.{_SHOWN}} }}}} is not a variable; use one of {', '.join(NAMES)}"
    length = len(substitute(body, dict.fromkeys(NAMES, "n" * _LONGEST_NAME)))
    if length > BODY_LIMIT:
        yield (
            f"{field}: '{printable(body, _SHOWN)}' has {length} characters when each variable takes {_LONGEST_NAME}; an answer has "
            f"{BODY_LIMIT} at the most; shorten it, or use fewer variables"
        )
