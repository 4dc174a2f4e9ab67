"""Finds what belongs together in the turns of a loop: the steps of each place turn by turn, and the values near them.

Turns are found by the places alone: the j-th step that an instruction has made, on one path of calls, is of turn j.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gradcheck_fast.diagnosis.graph.places import MOVEMENT, Place, text_of
from gradcheck_fast.frontends.numpy_trace.expressions import text_of_expression, text_of_operand
from gradcheck_fast.frontends.numpy_trace.variables import variables
from gradcheck_fast.program.steps import ENTRYWISE
from gradcheck_fast.program.steps.leaves import CONSTANT, INPUT
from gradcheck_fast.program.steps.product import MATMUL

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.diagnosis.graph.backward import Backward
    from gradcheck_fast.frontends.numpy_trace.variables import Variable
    from gradcheck_fast.program.program import Source

_LEAVES = frozenset((CONSTANT.name, INPUT.name))
#: Intervals are equal if they differ by less than this part.
_SAME_INTERVAL = 1e-9
#: What constants are called.
CONSTANT_WORDS = ("the data", "the constant")
#: A line that assigns a variable, or adds to one.
_ASSIGNED = re.compile(r"([\w.]+(?:\[[^=]*\])?)\s*[-+*/@]?=(?!=)")


class Signal(NamedTuple):
    """A value that each turn of a loop has.

    Attributes
    ----------
    steps : tuple of int
        The numbers of the steps with that value, one for each turn.
    words : str
        What it is: "`z` of line 12", "`h[t]` of line 14 (one turn before)".
    """

    steps: tuple[int, ...]
    words: str


class Turns:
    """The steps of a program by place and turn.

    Parameters
    ----------
    backward : Backward
    names : sequence of str
        The names of the arrays of parameters, in their order.
    places : sequence of Place
        All places of the program.

    Attributes
    ----------
    places : list of Place
        The place on one path of calls of each step, without repetitions.
    """

    def __init__(self, backward: Backward, names: Sequence[str], places: Sequence[Place]) -> None:
        self.backward, self._steps = backward, backward.steps
        # those of a list have only their numbers
        said = [f"params{name}" if name.startswith("[") else name for name in names]
        self._names = dict(zip(backward.parameters, said, strict=True))
        finest: dict[int, Place] = {}
        for place in places:
            for number in place.steps:
                if number not in finest or len(place.steps) < len(finest[number].steps):
                    finest[number] = place
        self.places = list(dict.fromkeys(finest.values()))
        # all turns of a loop over layers
        whole = (place for place in places if self.is_single(place) and finest[place.steps[0]].steps != place.steps)
        self._whole = list(whole)
        self._said_of: dict[object, str] = {}
        self._at = {number: (place, turn) for place in self.places for turn, number in enumerate(place.steps)}

    # ---- where a step is

    def place(self, number: int) -> Place | None:
        """Returns the place of a step on its path of calls; None for a leaf, or a step that no parameter reaches."""
        return self._at[number][0] if number in self._at else None

    def turn(self, number: int) -> int:
        """Returns in which turn a step was made, from 0; 0 for those that are in no loop."""
        return self._at[number][1] if number in self._at else 0

    def is_single(self, place: Place) -> bool:
        """Whether all steps of a place were made on one path of calls."""
        return len({self._steps[number].source for number in place.steps}) == 1

    def is_carried(self, number: int, k: int) -> bool:
        """Whether what goes back from a step to its input k goes back to an earlier turn of its loop."""
        source = self._steps[number].inputs[k]
        here, there = self.place(number), self.place(source)
        if here is None or there is None or there.steps[-1] < here.steps[0]:
            return False
        if len(here.steps) == len(there.steps):
            return self.turn(source) < self.turn(number)
        # a place may have made no step in some turn, as in the first, if no parameter had reached it yet
        one, two = (_instructions(self._steps[k].source) for k in (number, source))
        return abs(len(here.steps) - len(there.steps)) <= 1 < len(here.steps) and one <= two

    def value_at(self, steps: Sequence[int], turn: int) -> NDArray[np.float64] | None:
        """Returns the value of a step of some turn; None before the first turn, or after the last one.

        If the steps are single constants in equal intervals, as the times of a loop, the next ones are known, too.
        """
        values = self.backward.values
        if 0 <= turn < len(steps):
            return values[steps[turn]]
        if len(steps) < 3 or any(np.size(values[n]) > 1 or not self.is_constant(n) for n in steps):
            return None
        numbers = np.array([float(np.reshape(values[number], ())) for number in steps])
        moves = np.diff(numbers)
        if not moves.any() or np.ptp(moves) > _SAME_INTERVAL * np.abs(moves).max():
            return None
        return np.asarray(numbers[0] + turn * moves[0]).reshape(self.shape(steps[0]))

    # ---- arrays of parameters

    @cached_property
    def arrays(self) -> dict[int, int]:
        """The step of the array of parameters, for the arrays and for what is only a part or another view of one."""
        found = {number: number for number in self.backward.parameters}
        for number in sorted(self.backward.bars):
            step = self._steps[number]
            if step.name in MOVEMENT and len(step.inputs) == 1 and step.inputs[0] in found:
                found[number] = found[step.inputs[0]]
        return found

    # ---- words

    def name(self, number: int, here: Source | None = None) -> str:
        """Says what a step is: the name of its array, or the variable and the line that make it.

        Nothing is said of the line if it is that of `here`.
        """
        key = (number, here and (here.file, here.line))
        if key not in self._said_of:
            self._said_of[key] = self._name(number, here)
        return self._said_of[key]

    def _name(self, number: int, here: Source | None) -> str:
        array = self.arrays.get(number)
        if array is not None:
            is_part = np.size(self.backward.values[number]) < np.size(self.backward.values[array])
            return "a part of " * is_part + self._names[array]
        step = self._steps[number]
        if step.name in _LEAVES:
            return "the data" if step.shape else "the constant"
        is_last = self._is_last(number) and not self._is_argument(number)
        if step.name in MOVEMENT and len(step.inputs) == 1 and not is_last:
            return self.name(step.inputs[0], here)
        if not is_last and step.source.line:
            return self._expression(number, here)
        source = _returned_to(step.source)
        if not source.line:
            return source.name or f"the {step.name}"
        assigned = _ASSIGNED.match(text_of(source))
        if assigned is None:
            return self._expression(number, here) if source is step.source else self._unpacked(number, source, here)
        return f"`{assigned[1]}`" if _is_line_of(source, here) else f"`{assigned[1]}` of line {source.line}"

    def _unpacked(self, number: int, source: Source, here: Source | None) -> str:
        """Says what a step is that a function returns among other values: the variable that it is assigned to."""
        for variable in self._variables.get(number, ()):
            if (variable.source.file, variable.source.line) == (source.file, source.line):
                of_line = "" if _is_line_of(source, here) else f" of line {source.line}"
                return f"`{variable.name}`{of_line}"
        return f"the value of line {source.line}"

    @cached_property
    def _variables(self) -> dict[int, tuple[Variable, ...]]:
        return variables(self._steps)

    def _expression(self, number: int, here: Source | None) -> str:
        """Says what a step in the middle of a line is: by the text of its expression, if that is known."""
        step = self._steps[number]
        text, what = text_of_expression(step.source), _said(step.name)
        of_line = "" if _is_line_of(step.source, here) else f" of line {step.source.line}"
        if not text:
            return f"the {what} in that line" if not of_line else f"the {what}{of_line}"
        # a call such as that of np.mean makes several steps; the last one is its value
        is_inner = any(self._steps[reader].source == step.source for reader, _ in self.backward.readers.get(number, ()))
        return (f"the {what} in `{text}`" if is_inner else f"`{text}`") + of_line

    def read(self, place: Place, k: int, edges: Iterable[int] | None = None) -> str:
        """Says what a place reads as its input k; `edges` are the steps of it that count, without it all do."""
        readers = place.steps if edges is None else tuple(edges)
        key = (place.steps, k, readers)
        if key not in self._said_of:
            self._said_of[key] = self._read(place, k, readers)
        return self._said_of[key]

    def _read(self, place: Place, k: int, readers: tuple[int, ...]) -> str:
        sources = [self._steps[number].inputs[k] for number in readers]
        found = list(dict.fromkeys(self.name(number, place.source) for number in sources))
        inner = [words for words in found if words not in CONSTANT_WORDS]
        if not inner and (text := text_of_operand(self._steps[readers[0]].source, k)):
            return f"`{text}`"
        said = " or ".join((inner or found)[:2])
        is_carried = self.is_carried(readers[-1], k) and all(self.is_carried(number, k) for number in readers[1:])
        return f"{said} (one turn before)" if is_carried else said

    def is_constant(self, number: int) -> bool:
        """Whether a step is a constant or the data."""
        return self._steps[number].name in _LEAVES

    def _is_last(self, number: int) -> bool:
        """Whether a step is what its line makes in the end, or the function that it belongs to returns."""
        own = self._steps[number].source
        return all(
            self._steps[reader].source[1:3] != own[1:3] or self.turn(reader) != self.turn(number)
            for reader, _ in self.backward.readers.get(number, ())
        )

    def _is_argument(self, number: int) -> bool:
        """Whether a step is handed to a function of the user's that its line calls, and that does more than move it."""
        own = self._steps[number].source
        readers = (self._steps[reader] for reader, _ in self.backward.readers.get(number, ()))
        return any(step.name not in MOVEMENT and _is_called_in(step.source, own) for step in readers)

    # ---- values

    def signals(self, place: Place) -> Iterator[Signal]:
        """Yields the values that are there in each turn in which a place of one path of calls runs, the nearest first.

        These are what other lines make as often, and what is read there.
        """
        middle = place.steps[-1]
        found = self._signals.get(len(place.steps), {})
        for steps in sorted(found, key=lambda steps: abs(steps[-1] - middle)):
            yield Signal(steps, found[steps])

    @cached_property
    def _signals(self) -> dict[int, dict[tuple[int, ...], str]]:
        found: dict[int, dict[tuple[int, ...], str]] = {}
        for place in (*self.places, *self._whole):
            last = place.steps[-1]
            if self.is_known(last):
                found.setdefault(len(place.steps), {})[place.steps] = self.name(last)
        for place in (*self.places, *self._whole):
            for k in range(min(len(self._steps[number].inputs) for number in place.steps)):
                read = tuple(self._steps[number].inputs[k] for number in place.steps)
                last = read[-1]
                if last in self.arrays or not (self.is_constant(last) or self.is_known(last)):
                    continue
                words = self.read(place, k)
                if self.is_constant(last):
                    line = f"line {place.source.line}"
                    words = f"what {line} reads" if words in CONSTANT_WORDS else f"{words} of {line}"
                found.setdefault(len(place.steps), {}).setdefault(read, words)
        return found

    def is_known(self, number: int) -> bool:
        """Whether a value may well stand in the user's backward pass: it has a variable, or is a function's value."""
        if self._is_last(number):
            return True
        step = self._steps[number]
        return step.name in (*ENTRYWISE, MATMUL.name) and _returned_to(step.source) is step.source

    def shape(self, number: int) -> tuple[int, ...]:
        """Returns the shape of a step's value."""
        return np.shape(self.backward.values[number])


def _is_line_of(source: Source, here: Source | None) -> bool:
    return here is not None and (source.file, source.line) == (here.file, here.line)


def _is_called_in(inner: Source, line: Source) -> bool:
    """Whether a step is in a function that a line calls, directly or not."""
    at = inner.caller
    while at is not None:
        if (at.file, at.line, at.caller) == (line.file, line.line, line.caller):
            return True
        at = at.caller
    return False


def _instructions(source: Source) -> list[int]:
    """Returns where a step is in each function on the way to it, the outermost first. Within a turn these grow."""
    found = []
    at: Source | None = source
    while at is not None:
        found.append(at.instruction)
        at = at.caller
    return found[::-1]


def _returned_to(source: Source) -> Source:
    """Returns the call to which a line returns its value, or the line itself."""
    while source.caller is not None and source.caller.line and text_of(source).startswith("return "):
        source = source.caller
    return source


def _said(primitive: str) -> str:
    return _WORDS.get(primitive, primitive)


#: The names of primitives in words.
_WORDS = {
    "add": "sum",
    "subtract": "difference",
    "multiply": "product",
    "matmul": "product",
    "divide": "quotient",
    "strided": "part or view",
    "gather": "part or view",
}
