"""Names the first line of the user's own backward pass that parts from what is right, and how."""

from __future__ import annotations

import linecache
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from gradcheck_fast.diagnosis.backward_search import Found, Search
from gradcheck_fast.diagnosis.graph.known_arrays import are_same, factor_of
from gradcheck_fast.diagnosis.graph.recognised import Recognised
from gradcheck_fast.frontends.numpy_trace.traced_gradient import MOST_STEPS, recorded_gradient

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.diagnosis.graph.backward import Backward
    from gradcheck_fast.diagnosis.graph.known_arrays import Known
    from gradcheck_fast.frontends.numpy_trace.statements import Place
    from gradcheck_fast.frontends.numpy_trace.traced_gradient import RecordedGradient
    from gradcheck_fast.inputs.trees import Packed
    from gradcheck_fast.program.program import Source

    Reals: TypeAlias = NDArray[np.float64]

#: So many characters of a line are quoted, at most.
_MOST_SHOWN = 60


class Parting(NamedTuple):
    """The first line of a gradient function that is not right.

    Attributes
    ----------
    file : str
    line : int
    text : str
        The line, without the spaces before it.
    lines : tuple of (str, int)
        The file and line of each statement that the mistake may be in: one or two. Of two, the mistake lies in them or
        between them.
    kind : {"parts", "misused", "incomplete", "short"}
        As in `backward_search.Found`.
    cause : str
        What is wrong, in one sentence that names the line.
    evidence : str
        What was compared.
    wanted : str
        What the line should give, in words.
    shape : tuple of int
        The shape of that.
    relative_error : float
        By how much the line differs from it, as a part of its largest entry.
    factor : float or None
        If what it gives is a multiple of that: the factor.
    arrays : tuple of str
        The arrays of the gradient that are right as soon as the line is.
    """

    file: str
    line: int
    text: str
    lines: tuple[tuple[str, int], ...]
    kind: str
    cause: str
    evidence: str
    wanted: str
    shape: tuple[int, ...]
    relative_error: float
    factor: float | None
    arrays: tuple[str, ...]


def parting_line(
    loss_function: Callable[[Any], Any],
    gradient_function: Callable[[Any], Any],
    params: Packed,
    backward: Backward,
    analytic: Mapping[str, Reals],
    wrong: Sequence[str],
) -> Parting | None:
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

    Returns
    -------
    Parting or None
        None if the functions cannot be recorded, if they give another gradient, or if nothing is certain.
    """
    if not wrong or 2 * len(backward.steps) > MOST_STEPS:
        return None
    recorded = recorded_gradient(loss_function, gradient_function, params, analytic)
    return None if recorded is None else first_parting(recorded, backward, wrong, list(params.shapes))


def first_parting(
    recorded: RecordedGradient, backward: Backward, wrong: Sequence[str], names: Sequence[str]
) -> Parting | None:
    """Finds the first line of a recorded gradient function that parts; see `parting_line`.

    Parameters
    ----------
    recorded : RecordedGradient
    backward : Backward
    wrong : sequence of str
        The arrays that are wrong.
    names : sequence of str
        The names of all arrays of the parameters, in order.
    """
    with np.errstate(all="ignore"):
        at = Recognised(recorded, backward, wrong, names)
        found = Search(at).first()
        return None if found is None else _Words(at, found).parting()


class _Words:
    """What is said of a step that was found."""

    def __init__(self, at: Recognised, found: Found) -> None:
        self._at, self._found = at, found
        self._own, self._wanted = at.value(found.step), found.wanted.array
        self._names = {number: name for name, number in at.parameter.items()}

    def parting(self) -> Parting:
        found, place = self._found, self._found.places[-1 if self._found.kind == "parts" else 0]
        off = float(np.abs(self._own - self._wanted).max())
        return Parting(
            place.file,
            place.first,
            linecache.getline(place.file, place.first).strip(),
            tuple((other.file, other.first) for other in found.places),
            found.kind,
            self._cause(),
            self._evidence(),
            self.known(found.wanted.known),
            np.shape(self._wanted),
            off / float(np.abs(self._wanted).max()),
            factor_of(self._own, self._wanted),
            found.repaired,
        )

    def _cause(self) -> str:
        found, known = self._found, self._found.wanted.known
        where, wanted = " and ".join(map(_words, found.places)), self.known(known)
        if known.kind == "slope" and len(found.places) == 1:
            return f"{where}: the first line of your gradient that is not right: what it takes for {wanted} is not that"
        own = self._at.bar(found.step)
        if found.kind == "misused" and own is not None:
            is_one = len(found.places) == 1
            read = "what reads it needs" if is_one else f"{_words(found.places[1])}, takes it for"
            return f"{_words(found.places[0])}, gives {self.known(own.known)}; {read} {wanted}"
        if found.kind == "incomplete":
            missing = self._missing()
            rest = f": what comes from {missing} is not added" if missing else ", and the rest is not added"
            return f"{where}, gives only a part of {wanted}{rest}"
        first = "the first line of your gradient that is not right"
        how = self._how()
        if len(found.places) > 1:
            return (
                f"{where}: the first lines of your gradient that are not right; together they should give {wanted}{how}"
            )
        if found.kind == "short":
            return f"{where}: {first}: it should give {wanted}, but what it reads is not all that goes back there"
        return f"{where}: {first}: it should give {wanted}{how}"

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
        known, backward = self._found.wanted.known, self._at.backward
        if known.kind != "bar" or known.place is not None or self._own.shape != known.array.shape:
            return ""
        rest = known.array - self._own
        for step in self._same(known):
            for edge in backward.readers.get(step, ()):
                if are_same(rest, backward.flow(*edge)):
                    return self._line(edge[0])
        return ""

    def _same(self, known: Known) -> list[int]:
        """Returns the steps that have a sensitivity: those of the outermost functions, and the last of them, first."""
        bars, steps = self._at.backward.bars, self._at.backward.steps
        found = [
            other.step for other in self._at.known.of_size(known.array.size)
            if other.kind == "bar" and other.place is None and are_same(bars[other.step], known.array)
        ]  # fmt: skip
        return sorted(found, key=lambda step: (step not in self._names, _depth(steps[step].source), -step))

    def _evidence(self) -> str:
        found = self._found
        count, of = found.passes
        passes = f"it parts in its {_ordinal(count)} pass of {of}; " if of > 1 and count > 1 else ""
        names = ", ".join(found.repaired)
        return f"{passes}with the right values there, the rest of your gradient function gives the right {names}"

    def known(self, known: Known) -> str:
        """Returns the words for a right array."""
        name, same = self._names.get(known.step), [known.step]
        if known.kind == "bar" and known.place is None:
            same = self._same(known) or same
        step = f"the gradient of {name}" if name else f"the sensitivity of {self._line(same[0])}"
        if known.kind == "value":
            step = name or f"the value of {self._line(known.step)}"
        elif known.kind == "slope":
            step = f"the slope of {self._line(known.edges[0][0])}"
        elif known.kind == "flow":
            to = name or self._line(known.step)
            step = f"what goes back to {to} from {self._line(known.edges[0][0])}"
        return step if known.place is None or known.place[0] < 0 else f"a part of {step}"

    def _line(self, number: int) -> str:
        source = self._at.backward.steps[number].source
        return f"line {source.line}, {_quoted(source.file, source.line)}" if source.line else "the loss"


def _depth(source: Source) -> int:
    """Returns in how many calls a line is."""
    return 0 if source.caller is None else 1 + _depth(source.caller)


def _words(place: Place) -> str:
    return f"{os.path.basename(place.file)} line {place.first}, {_quoted(place.file, place.first)}"


def _quoted(file: str, line: int) -> str:
    text = linecache.getline(file, line).strip()
    return f"`{text if len(text) <= _MOST_SHOWN else text[: _MOST_SHOWN - 1].rstrip() + '…'}`"


def _ordinal(count: int) -> str:
    ending = "th" if 10 <= count % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(count % 10, "th")
    return f"{count}{ending}"
