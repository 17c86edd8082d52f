"""One rendering while it goes on: what it has left, what it printed, and where each line of its output comes from."""

from bisect import bisect_right

from virtualservice_operator.templates.marks import Marks
from virtualservice_operator.templates.values import Budget


class Rendering:
    """
    One rendering: what it has left, the values it printed, and which line of the template each line comes from.

    `depth`: in how many includes and blocks it is at the moment; what is printed passes through each of them.
    """

    def __init__(self, budget: Budget | None = None, marks: Marks | None = None) -> None:
        self.budget = budget or Budget()
        self.marks = marks or Marks()
        self.depth = 0
        self._lines: list[int] = [0]
        self._origins: list[tuple[str, int]] = [("", 1)]
        self._written = 0

    def note(self, text: str, template: str, line: int) -> None:
        """Note a piece of a template that goes to the output."""
        self._lines.append(self._written)
        self._origins.append((template, line))
        self._written += text.count("\n")

    def pass_over(self, text: str) -> None:
        """Note text that is no piece of a template."""
        self._written += text.count("\n")

    def origin(self, line: int) -> tuple[str, int]:
        """Return the template and the line that a line of the output comes from."""
        index = bisect_right(self._lines, line) - 1
        template, first = self._origins[index]
        return template, first + (line - self._lines[index])
