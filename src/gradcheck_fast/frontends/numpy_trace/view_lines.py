"""Remembers where views were made and written to, for steps are only made of them where they are read.

``dh = dxh[:, 3:]`` computes nothing. The step that takes these columns is made when `dh` is read, many lines later; but
if the columns are the wrong ones, it is the first line that has to be named.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from gradcheck_fast.program.program import Source, Step

#: A line, and how many steps there were when it was reached.
Reached: TypeAlias = "tuple[int, Source]"


class ViewLines:
    """The lines behind the steps that read views.

    Parameters
    ----------
    steps : list of Step
        The steps that are being recorded.
    source : callable
        Returns the line that is running.

    Attributes
    ----------
    of_step : dict of int to tuple of Source
        By the number of a step that reads a view: the lines that have made the view of others, and that have written
        into it, in the order in which they were reached. The step has the last of them for its source.
    """

    def __init__(self, steps: list[Step], source: Callable[[], Source]) -> None:
        self._steps, self._source, self._begin = steps, source, len(steps)
        self.of_step: dict[int, tuple[Source, ...]] = {}

    def here(self) -> Reached:
        """Returns the line that is running."""
        return len(self._steps), self._source()

    def read(self, before: int, made: Sequence[Reached], written: Sequence[Reached]) -> None:
        """Gives the steps that have been added, after the first `before`, to the lines of the view that they read."""
        reached = sorted((*written, *made), key=lambda reached: reached[0])
        lines = tuple(source for at, source in reached if at >= self._begin and any(source))
        if lines:
            for number in range(before, len(self._steps)):
                self.of_step[number] = lines
                self._steps[number] = self._steps[number]._replace(source=lines[-1])
