"""The truth values on which a traced function branches, and the loops of Python that one of them ends."""

from __future__ import annotations

from typing import NamedTuple

from gradcheck_fast.program.program import Source

#: How often a line must decide the same before its last decision ends a loop.
FEWEST_TURNS = 2


class _Line(NamedTuple):
    """What a line has decided: the same so many times, and then at most one other thing."""

    truth: bool
    turns: int
    ended: bool


class Decisions:
    """The decisions of each line that depend on the parameters, in the order in which they are made."""

    def __init__(self) -> None:
        self._lines: dict[Source, _Line] = {}

    def add(self, source: Source, truth: bool) -> None:
        """Takes the next decision of a line."""
        line = self._lines.get(source, _Line(truth, 0, False))
        if line.ended or (truth != line.truth and line.turns < FEWEST_TURNS):
            line = _Line(truth, 0, False)  # a decision for each sample, or a loop that runs again
        self._lines[source] = line._replace(turns=line.turns + 1, ended=truth != line.truth)

    @property
    def iterations(self) -> list[Source]:
        """The lines at which a loop ends once a value is small enough, as an iteration does."""
        return [source for source, line in self._lines.items() if line.ended]
