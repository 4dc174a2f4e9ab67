"""Names the first line of the user's own backward pass that parts from what is right, and how."""

from __future__ import annotations

import linecache
import os
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from gradcheck_fast.diagnosis.backward_pass.certainty import certain
from gradcheck_fast.diagnosis.backward_pass.pairs import first_pair
from gradcheck_fast.diagnosis.backward_pass.places import is_sensitivity_of
from gradcheck_fast.diagnosis.backward_pass.recognised import Recognised
from gradcheck_fast.diagnosis.backward_pass.search import FirstWrong, FirstWrongSearch
from gradcheck_fast.diagnosis.graph.astray import astray_from
from gradcheck_fast.diagnosis.lookup import are_same, factor_of
from gradcheck_fast.frontends.numpy_trace.traced_gradient import MOST_STEPS, recorded_gradient
from gradcheck_fast.frontends.numpy_trace.variables import variables
from gradcheck_fast.inputs.users_files import cut, line_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.diagnosis.backward_pass.known_arrays import KnownArray
    from gradcheck_fast.diagnosis.graph.astray import Astray
    from gradcheck_fast.diagnosis.graph.backward import Backward
    from gradcheck_fast.frontends.numpy_trace.statements import StatementLines
    from gradcheck_fast.frontends.numpy_trace.traced_gradient import RecordedGradient
    from gradcheck_fast.frontends.numpy_trace.variables import Variable
    from gradcheck_fast.inputs.trees import Packed
    from gradcheck_fast.program.program import Source, Step

    Reals: TypeAlias = NDArray[np.float64]

#: So many characters of a line are quoted, at most.
_MOST_SHOWN = 60


#: Steps that are called by their names.
_FUNCTIONS = ("tanh", "exp", "log", "sqrt", "sigmoid", "maximum", "absolute", "square", "power", "sin", "cos")


class Parting(NamedTuple):
    """The first line of a gradient function that is not right.

    Attributes
    ----------
    file : str
    line : int
    cause : str
        What is wrong, in one sentence that names the line.
    evidence : str
        What was compared.
    arrays : tuple of str
        The arrays of the gradient that are right as soon as the line is.
    """

    file: str
    line: int
    cause: str
    evidence: str
    arrays: tuple[str, ...]


class PartingSearch(NamedTuple):
    """What the search for the first line that is not right has found.

    Attributes
    ----------
    partings : tuple of Parting
        One; two, if two lines are wrong side by side; or none.
    is_over_time : bool
        Whether the search was ended before its end.
    astray : Astray, optional
        Where the way back through the loss goes wrong at these lines.
    """

    partings: tuple[Parting, ...] = ()
    is_over_time: bool = False
    astray: Astray | None = None


def parting_line(
    loss_function: Callable[[Any], Any],
    gradient_function: Callable[[Any], Any],
    params: Packed,
    backward: Backward,
    analytic: Mapping[str, Reals],
    wrong: Sequence[str],
    *,
    is_cause_known: bool = False,
) -> PartingSearch:
    """Finds the first line of a gradient function whose result is not right although what it reads is.

    Both functions are run once more, with arrays that record, and what their objects keep is put back.

    Parameters
    ----------
    loss_function : callable
        The user's loss, of one tree like that of `params`.
    gradient_function : callable
        The user's gradient function, of the same tree. It is called right after the loss.
    params : Packed
    backward : Backward
        The traced loss at these parameters.
    analytic : mapping of str to ndarray
        What the gradient function gave for each array of `params`.
    wrong : sequence of str
        The arrays that are wrong.
    is_cause_known : bool
        Whether the mistake is known already from the numbers of the gradient: then the search takes less time.

    Returns
    -------
    PartingSearch
        No line if the functions cannot be recorded, if they give another gradient, or if nothing is certain.
    """
    if not wrong or 2 * len(backward.steps) > MOST_STEPS:
        return PartingSearch()
    recorded = recorded_gradient(loss_function, gradient_function, params, analytic)
    if recorded is None:
        return PartingSearch()
    return first_parting(recorded, backward, wrong, list(params.shapes), is_cause_known=is_cause_known)


def first_parting(
    recorded: RecordedGradient, backward: Backward, wrong: Sequence[str], names: Sequence[str], *,
    is_cause_known: bool = False,
) -> PartingSearch:  # fmt: skip
    """Finds the first line of a recorded gradient function that parts; see `parting_line`.

    Parameters
    ----------
    recorded : RecordedGradient
    backward : Backward
    wrong : sequence of str
        The arrays that are wrong.
    names : sequence of str
        The names of all arrays of the parameters, in order.
    is_cause_known : bool
        As for `parting_line`.
    """
    with np.errstate(all="ignore"):
        at = Recognised(recorded, backward, wrong, names)
        search = FirstWrongSearch(at, is_cause_known=is_cause_known)
        alone = certain(search, search.first())
        found: tuple[FirstWrong, ...] = () if alone is None else (alone,)
        if not found and not is_cause_known:
            found = first_pair(search) or ()
        partings = tuple(_Words(at, each).parting() for each in found)
        return PartingSearch(partings, search.is_over_time, _astray(at, found, wrong) if found else None)


def _astray(at: Recognised, found: Sequence[FirstWrong], wrong: Sequence[str]) -> Astray:
    """Returns where the way back through the loss goes wrong at lines that were found."""
    turning, first = set[int](), set[int]()
    for each in found:
        known = each.wanted.known
        turning.update(number for number, _ in known.edges)
        if known.kind in ("bar", "flow"):
            first.add(known.step)
            readers = at.backward.readers.get(known.step, ())
            turning.update(number for number, _ in readers if len(readers) == 1)
        elif known.kind == "slope":
            first.update(at.backward.steps[number].inputs[k] for number, k in known.edges)
    right = [number for name, number in at.parameter.items() if name not in wrong and number in at.backward.learned]
    is_whole = set(wrong) <= {name for each in found for name in each.repaired}
    return astray_from(at.backward, turning, first, right, is_whole=is_whole)


class _Words:
    """What is said of a step that was found."""

    def __init__(self, at: Recognised, found: FirstWrong) -> None:
        self._at, self._found = at, found
        self._own, self._wanted = at.value(found.step), found.wanted.array
        self._names = {
            number: f"params{name}" if name.startswith("[") else name for name, number in at.parameter.items()
        }

    def parting(self) -> Parting:
        place = self._found.places[0]
        return Parting(place.file, place.first, self._cause(), self._evidence(), self._found.repaired)

    def _cause(self) -> str:
        found, known = self._found, self._found.wanted.known
        where, wanted = _words(found.places[0]), self.known(known)
        if known.kind == "slope":
            return f"{where}: the first line of your gradient that is not right: what it takes for {wanted} is not that"
        if found.kind == "incomplete":
            missing = self._missing()
            rest = f": what comes from {missing} is not added" if missing else ", and the rest is not added"
            return f"{where}, gives only a part of {wanted}{rest}"
        first = "the first line of your gradient that is not right"
        local = self._local()
        if local:
            part = self._part_that_is_read()
            return f"{where}, reads only a part of {part}" if part else f"{where}: {first}: {local}"
        how = self._how()
        return f"{where}: {first}: it should give {wanted}{how}"

    def _local(self) -> str:
        """Returns in words the one thing in the statement that makes it right, if there is one."""
        found, local = self._found, self._found.local
        if local is None:
            return ""
        if local.axes is not None:
            own, other = (", ".join(map(str, axes)) for axes in local.axes)
            return f"it sums over axis {own}; over axis {other}, it would give {self.known(found.wanted.known)}"
        assert local.known is not None
        read = self._named(local.step)
        turn = self._turn(local.step, local.known)
        if turn:
            return f"it reads {read} where that of the turn {turn} belongs"
        if local.kind == "transposed":
            return f"it reads {read} the wrong way round: a transpose is missing, or is too much"
        return f"it reads {read} where {self.known(local.known)} belongs"

    def _part_that_is_read(self) -> str:
        """Returns what a statement reads only a part of, in words, if that is what is wrong."""
        local = self._found.local
        if local is None or local.known is None or local.known.kind != "bar":
            return ""
        targets = {match.known.step for match in self._at.flows(local.step)}
        if not targets or not is_sensitivity_of(self._at, local.known, targets):
            return ""
        missing = self._missing_from(local.known, self._at.value(local.step))
        return f"{self.known(local.known)}{f': what comes from {missing} is not in it' if missing else ''}"

    def _turn(self, step: int, known: KnownArray) -> str:
        """Returns "before" or "after" if what belongs there is the same as what is read, of another turn of a loop."""
        for match in self._at.matches(step):
            own = match.known
            if match.is_exact and own.place is None and own.family == known.family and own.step != known.step:
                return "before" if known.step < own.step else "after"
        return ""

    def _named(self, step: int) -> str:
        """Returns what a statement reads in words: the name, if it is there, or else what it is."""
        place = self._found.places[0]
        text = "".join(linecache.getline(place.file, line) for line in range(place.first, place.last + 1))
        for variable in reversed(self._variables.get(step, ())):
            if re.match(rf"{re.escape(variable.name)}\s*\W?=", text.strip()):
                continue  # what is assigned is named so only afterwards
            if variable.name and re.search(rf"(?<![\w.]){re.escape(variable.name)}(?!\w)", text):
                return f"`{variable.name}`"
        match = next((match for match in self._at.matches(step) if match.is_exact), None)
        return self.known(match.known) if match is not None else "an array"

    @cached_property
    def _variables(self) -> dict[int, tuple[Variable, ...]]:
        return variables(self._at.steps)

    def _how(self) -> str:
        factor = factor_of(self._own, self._wanted)
        if factor is not None:
            return f", and gives {factor:.6g} times that" if np.size(self._own) > 1 else ""
        missing = self._missing()
        if missing:
            return f"; what comes from {missing} is not added"
        other = next((match for match in self._at.matches(self._found.step) if match.is_exact), None)
        if other is not None and self._found.wanted.known.kind in ("bar", "flow"):
            return f", and gives {self.known(other.known)}"
        return ""

    def _missing(self) -> str:
        """Returns the line from which something is missing: what is right minus what was given comes from it."""
        return self._missing_from(self._found.wanted.known, self._own)

    def _missing_from(self, known: KnownArray, own: Reals) -> str:
        backward = self._at.backward
        if known.kind not in ("bar", "flow") or known.place is not None or own.shape != known.array.shape:
            return ""
        rest = known.array - own
        edges = known.edges if known.kind == "flow" else None
        for step in self._same(known) if edges is None else [known.step]:
            for edge in backward.readers.get(step, ()) if edges is None else edges:
                if are_same(rest, backward.flow(*edge)):
                    return self._line(edge[0])
        return ""

    def _same(self, known: KnownArray) -> list[int]:
        """Returns the steps that have a sensitivity: those of the outermost functions, and the last of them, first."""
        bars, steps = self._at.backward.bars, self._at.backward.steps
        found = [
            other.step for other in self._at.known.of_size(bars[known.step].size)
            if other.kind == "bar" and other.place is None and are_same(bars[other.step], bars[known.step])
        ]  # fmt: skip

        def order(step: int) -> tuple[bool, int, bool, int]:
            return step not in self._names, _depth(steps[step].source), bool(self._of_line(step)), -step

        return sorted(found, key=order)

    def _evidence(self) -> str:
        found = self._found
        count, of = found.passes
        passes = f"it parts in its {_ordinal(count)} pass of {of}; " if of > 1 and count > 1 else ""
        names, there = ", ".join(found.repaired), "there and in the other line" if found.is_beside else "there"
        return f"{passes}with the right values {there}, the rest of your gradient function gives the right {names}"

    def known(self, known: KnownArray) -> str:
        """Returns the words for a right array."""
        name, same = self._names.get(known.step) or self._turned_name(known), [known.step]
        if known.kind == "bar" and (known.place is None or known.place[0] >= 0):
            same = self._same(known) or same
        step = f"the gradient of {name}" if name else f"the sensitivity of {self._result(same[0])}"
        if known.kind == "value":
            step = name or self._result(known.step, "the value of ")
        elif known.kind == "slope":
            step = f"the slope of {self._line(known.edges[0][0])}"
        elif known.kind == "flow":
            to = name or self._result(known.step)
            step = f"what goes back to {to} from {self._lines([number for number, _ in known.edges])}"
        return step if known.place is None or known.place[0] < 0 else f"a part of {step}"

    def _turned_name(self, known: KnownArray) -> str | None:
        """Returns the array of the parameters of which something is the gradient, if that is in another shape."""
        if known.kind != "bar" or known.place is not None:
            return None
        bars, numbers = self._at.backward.bars, self._at.parameter
        found = (numbers[name] for name in self._found.repaired if numbers[name] in bars)
        return next((self._names[number] for number in found if factor_of(known.array, bars[number]) == 1.0), None)

    def _of_line(self, step: int) -> list[int]:
        """Returns the steps that read a step of the loss in the same visit of its line."""
        steps, readers = self._at.backward.steps, self._at.backward.readers
        own, name = steps[step].source, steps[step].name

        def is_there(other: Step) -> bool:
            at = other.source
            is_later = at.instruction > own.instruction or (at.instruction == own.instruction and other.name != name)
            return (at.file, at.line, at.caller) == (own.file, own.line, own.caller) and is_later

        return [reader for reader, _ in readers.get(step, ()) if is_there(steps[reader])]

    def _result(self, step: int, of_line: str = "") -> str:
        """Returns what a step of the loss is, in words: the line, or a function on it, or what goes into that."""
        steps, readers = self._at.backward.steps, self._of_line(step)
        if not steps[step].source.line or not readers:
            return of_line + self._line(step)
        if steps[step].name in _FUNCTIONS:
            return f"{steps[step].name} in {self._line(step)}"
        into = next((steps[k].name for k in readers if steps[k].name in _FUNCTIONS), "")
        return (
            f"what goes into {into} in {self._line(step)}" if into else f"an intermediate result of {self._line(step)}"
        )

    def _lines(self, numbers: Sequence[int]) -> str:
        """Returns the lines of some steps in words: with its text if it is one, else by their numbers."""
        lines = list(dict.fromkeys(self._at.backward.steps[number].source.line for number in numbers))
        if len(lines) < 2 or not all(lines):
            return self._line(numbers[0])
        return f"lines {', '.join(map(str, lines[:-1]))} and {lines[-1]}"

    def _line(self, number: int) -> str:
        source = self._at.backward.steps[number].source
        return f"line {source.line}, {_quoted(source.file, source.line)}" if source.line else "the loss"


def _depth(source: Source) -> int:
    """Returns in how many calls a line is."""
    return 0 if source.caller is None else 1 + _depth(source.caller)


def _words(place: StatementLines) -> str:
    return f"{os.path.basename(place.file)} line {place.first}, {_quoted(place.file, place.first)}"


def _quoted(file: str, line: int) -> str:
    return f"`{cut(line_of(file, line), _MOST_SHOWN)}`"


def _ordinal(count: int) -> str:
    ending = "th" if 10 <= count % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(count % 10, "th")
    return f"{count}{ending}"
