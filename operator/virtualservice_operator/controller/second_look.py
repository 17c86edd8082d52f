"""
Whether a list that lacks much of what is known is believed: only where a second one lacks it too.

A list may be wrong: from a cache that has not caught up, or from something on the way that answers in the API server's
place. What it lacks counts as deleted, and with it go routes, so much of that at once is looked at twice.
"""

import logging
from collections.abc import Set as AbstractSet
from typing import Final

from virtualservice_operator.core.objects import ClusterObject, Key

logger = logging.getLogger(__name__)

# So many objects of a kind may be missing from a list, or this share of what is known, whichever is more.
_ALWAYS: Final = 5
_SHARE: Final = 0.2


class SecondLook:
    """Remembers what a list lacked that was not believed."""

    def __init__(self) -> None:
        self._doubted: dict[type[ClusterObject], frozenset[Key]] = {}

    def believes(self, kind: type[ClusterObject], missing: AbstractSet[Key], known: int) -> bool:
        """Tell whether what a list lacks, of so many that are known, is gone; if not, the kind has to be listed again."""
        doubted = self._doubted.pop(kind, frozenset())
        if len(missing - doubted) <= max(_ALWAYS, known * _SHARE):
            if doubted:
                logger.info(
                    "%s: of the %d that a list lacked, a second one lacks %d: those are gone",
                    *(kind.__name__, len(doubted), len(missing & doubted)),
                )
            return True
        self._doubted[kind] = frozenset(missing)
        logger.warning(
            "%s: a list lacks %d of the %d that are known; they are kept until a second one says the same",
            *(kind.__name__, len(missing), known),
        )
        return False
