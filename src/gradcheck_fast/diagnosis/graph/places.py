"""Finds the places of a user's program: the steps that one instruction has made, and the words for them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from gradcheck_fast.inputs.users_files import cut, line_of
from gradcheck_fast.program.steps.movement import GATHER, RESHAPE, SLICE, STRIDED

if TYPE_CHECKING:
    from gradcheck_fast.diagnosis.graph.backward import Backward
    from gradcheck_fast.program.program import Source

#: The steps that only move the entries of an array, or leave some out.
MOVEMENT = frozenset(primitive.name for primitive in (SLICE, RESHAPE, STRIDED, GATHER))
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
    caller : Source, optional
        Where its function was called, if that is one line.
    """

    steps: tuple[int, ...]
    where: str
    source: Source
    caller: Source | None = None


class Places:
    """The places of a program, by what their steps do.

    Parameters
    ----------
    backward : Backward
    """

    def __init__(self, backward: Backward) -> None:
        self._steps, self._needed = backward.steps, backward.bars
        self._places: dict[tuple[int, ...], Place] = {}

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
            names = [step.name for _, step in run]
            of_one_visit = _period(names)
            for at, (number, step) in enumerate(run):
                # one call of a function may make several steps of a kind, one after the other
                role = (step.name, names[at - at % of_one_visit : at].count(step.name))
                lines.setdefault((source.file, source.line, source.instruction, source.name, role), []).append(number)
                calls.setdefault((source, role), []).append(number)
        found: dict[tuple[int, ...], str] = {}
        for of_place in (*lines.values(), *calls.values()):
            found[tuple(of_place)] = ""
        for of_place in calls.values():
            for steps, which in self._layers_of(of_place):
                found.setdefault(steps, which)
        for steps in sorted(found, key=lambda steps: (steps[0], -len(steps))):
            place = self.place(steps)
            yield place._replace(where=place.where + found[steps])

    def _layers_of(self, steps: list[int]) -> Iterator[tuple[tuple[int, ...], str]]:
        """Yields the steps of each layer by themselves, if they were made in a loop over layers."""
        for first, last, count, layers in self._loops_over_layers:
            if len(steps) > 1 and steps[0] <= last and first <= steps[-1] and (len(steps) == count or layers == count):
                every = layers if len(steps) == count else len(steps)
                for layer in range(every):
                    yield tuple(steps[layer::every]), f" in turn {layer + 1} of the loop"
                return

    @cached_property
    def _loops_over_layers(self) -> list[tuple[int, int, int, int]]:
        """The loops whose turns read different arrays of parameters at the same place.

        For each it is the first and the last step of such a place, the number of steps, and that of different layers.
        """
        array: dict[int, int] = {}
        places: dict[object, list[int]] = {}
        for number, step in enumerate(self._steps):
            if step.name == "parameter":
                array[number] = number
            elif number in self._needed:
                if step.name in MOVEMENT and len(step.inputs) == 1 and step.inputs[0] in array:
                    array[number] = array[step.inputs[0]]
                places.setdefault((step.source, step.name), []).append(number)
        found = []
        for steps in places.values():
            for k in range(min(len(self._steps[number].inputs) for number in steps)):
                read = [array.get(self._steps[number].inputs[k], -1) for number in steps]
                layers = len(set(read))
                if layers > 1 and -1 not in read and read == read[:layers] * (len(read) // layers):
                    found.append((steps[0], steps[-1], len(steps), layers))
                    break
        return found

    def place(self, steps: tuple[int, ...]) -> Place:
        """Returns some steps as one place. They must come from the same line."""
        if steps not in self._places:
            self._places[steps] = self._place(steps)
        return self._places[steps]

    def _place(self, steps: tuple[int, ...]) -> Place:
        source = self._steps[steps[0]].source
        callers = {self._steps[number].source.caller for number in steps}
        caller = source.caller if len(callers) == 1 else None
        return Place(steps, words(source, of_caller=caller is not None), source, caller)


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
    return cut(line_of(source.file, source.line), _MOST_SHOWN)


def short(source: Source) -> str:
    """Returns the place as "line 12", or as the name of the layer."""
    return f"line {source.line}" if source.line else str(source)
