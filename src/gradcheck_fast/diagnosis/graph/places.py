"""Finds the places of a user's program: the steps that one instruction has made, and the words for them."""

from __future__ import annotations

import linecache
import os
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from gradcheck_fast.diagnosis.graph.backward import Backward
    from gradcheck_fast.program.program import Source, Step

#: So many characters of a line of source are shown, at most.
_MOST_SHOWN = 60


class Place(NamedTuple):
    """Steps that do the same: those that one instruction of the user's has made, each time that it ran.

    Attributes
    ----------
    steps : tuple of int
        The numbers of the steps, in order.
    where : str
        The place in words: "net.py line 58, `a2 = np.tanh(z2)`".
    source : Source
        The instruction.
    """

    steps: tuple[int, ...]
    where: str
    source: Source


class Places:
    """The places of a program, by what their steps do.

    Parameters
    ----------
    backward : Backward
    """

    def __init__(self, backward: Backward) -> None:
        self._steps, self._needed = backward.steps, backward.bars

    @cached_property
    def all(self) -> list[Place]:
        """Every place at which steps depend on parameters, in the order in which they were reached first.

        Where several calls lead to one instruction, there is a place for all of them, and one for each call.
        """
        return list(self.of(sorted(self._needed)))

    def of(self, numbers: Iterable[int]) -> Iterator[Place]:
        """Yields the places of some steps."""
        lines: dict[object, list[int]] = {}
        calls: dict[object, list[int]] = {}
        numbered = [(number, self._steps[number]) for number in numbers if self._steps[number].name != "parameter"]
        for source, group in groupby(numbered, lambda found: found[1].source):
            run = list(group)
            of_one_visit = _period([step.name for _, step in run])
            for at, (number, step) in enumerate(run):
                # one call of a function may make several steps of a kind, one after the other
                role = (step.name, at % of_one_visit)
                lines.setdefault((source.file, source.line, source.instruction, source.name, role), []).append(number)
                calls.setdefault((source, role), []).append(number)
        found: dict[tuple[int, ...], None] = {}
        for group in (*lines.values(), *calls.values()):
            found[tuple(group)] = None
        for steps in sorted(found, key=lambda steps: (steps[0], -len(steps))):
            yield self.place(steps)

    def place(self, steps: tuple[int, ...]) -> Place:
        """Returns some steps as one place. They must come from the same line."""
        source = self._steps[steps[0]].source
        callers = {self._steps[number].source.caller for number in steps}
        return Place(steps, words(source, of_caller=len(callers) == 1), source)


def _period(names: list[str]) -> int:
    """Returns after how many steps a row of steps repeats itself: the number of those of one visit."""
    count = len(names)
    periods = (n for n in range(1, count + 1) if count % n == 0 and names == names[:n] * (count // n))
    return next(periods, 1)


def words(source: Source, *, of_caller: bool = True) -> str:
    """Says in words where a step comes from: the file, the line, its text, and where its function was called."""
    if not source.line:
        return source.name or "the program"
    said = f"{os.path.basename(source.file)} line {source.line}"
    text = text_of(source)
    if text:
        said += f", `{text}`"
    if of_caller and source.caller is not None and source.caller.line:
        called = source.caller
        same = "" if called.file == source.file else f"{os.path.basename(called.file)} "
        of_call = f", `{text_of(called)}`" if text.startswith("return ") else ""
        said += f" (called in {same}line {called.line}{of_call})"
    return said


def text_of(source: Source) -> str:
    """Returns the line of the user's source, without the spaces before it, cut if it is long; "" if there is none."""
    text = linecache.getline(source.file, source.line).strip()
    return text if len(text) <= _MOST_SHOWN else text[: _MOST_SHOWN - 1].rstrip() + "…"


def short(source: Source) -> str:
    """Returns the place as "line 12", or as the name of the layer."""
    return f"line {source.line}" if source.line else str(source)


def kinds(steps: Mapping[int, Step] | list[Step]) -> dict[str, list[int]]:
    """Returns the numbers of steps by the names of their primitives."""
    found: dict[str, list[int]] = {}
    for number, step in steps.items() if isinstance(steps, Mapping) else enumerate(steps):
        found.setdefault(step.name, []).append(number)
    return found
