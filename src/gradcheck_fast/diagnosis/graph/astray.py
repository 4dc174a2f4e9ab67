"""Tells which sensitivities are wrong on the user's own way back through a program, and where they begin to be.

That is known where a mistake was found. Otherwise the arrays of the gradient, and the user's intermediates, show a part
of it: where an array is right, so is all that its gradient is computed from, which are the sensitivities of the steps
above it, nearer to the loss.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gradcheck_fast.frontends.numpy_trace.lines import RIGHT, TURNING, UNKNOWN, WRONG

if TYPE_CHECKING:
    from gradcheck_fast.diagnosis.graph.backward import Backward, Change
    from gradcheck_fast.program.program import Program

#: A change of a sensitivity below this part of its largest entry is rounding.
_ROUNDING = 1e-12


class Astray(NamedTuple):
    """Where the user's way back goes wrong, by the numbers of the steps.

    Attributes
    ----------
    turning : frozenset of int
        The steps from which something wrong goes back.
    wrong : frozenset of int
        Those whose sensitivities are then wrong.
    is_whole : bool
        Whether nothing else is wrong.
    """

    turning: frozenset[int] = frozenset()
    wrong: frozenset[int] = frozenset()
    is_whole: bool = False


def astray_by(backward: Backward, changes: Iterable[Change], *, is_whole: bool) -> Astray:
    """Returns where the way back goes wrong if these mistakes are made on it."""
    turning, wrong = set[int](), set[int]()
    for change in changes:
        turning |= change.steps
        for number, off in backward.change_of_bars(change).items():
            largest = float(np.abs(backward.right(number)).max(initial=0.0))
            if float(np.abs(off).max(initial=0.0)) > _ROUNDING * largest:
                wrong.add(number)
    return Astray(frozenset(turning - wrong), frozenset(wrong), is_whole)


def astray_from(
    backward: Backward, turning: Iterable[int], first: Iterable[int], right: Iterable[int], *, is_whole: bool
) -> Astray:
    """Returns where the way back goes wrong if the sensitivities of some steps are wrong, and none above them.

    Parameters
    ----------
    backward : Backward
    turning : iterable of int
        The steps from which something wrong goes back, as far as they are known.
    first : iterable of int
        The steps whose sensitivities are the first that are wrong.
    right : iterable of int
        The parameters whose gradient is right nevertheless: what is above them is not wrong.
    is_whole : bool
    """
    bits, spared = 0, sum(1 << number for number in right)
    for number in first:
        bits |= backward.above[number]
    wrong = frozenset(n for n in backward.bars if bits >> n & 1 and not backward.above[n] & spared)
    return Astray(frozenset(turning) - wrong, wrong, is_whole)


def step_verdicts(
    program: Program, arrays: Sequence[str], astray: Astray | None = None, between: Iterable[tuple[int, str]] = ()
) -> dict[int, str]:
    """Returns what is known of the sensitivities of a program's steps on the user's way back.

    Parameters
    ----------
    program : Program
    arrays : sequence of str
        The status of the gradient of each array of its parameters, as in `ArrayResult.status`.
    astray : Astray, optional
        Where a mistake was found.
    between : iterable of (int, str)
        The user's intermediates: the number of the step, and ``"right"``, ``"wrong"`` or ``"unknown"``.

    Returns
    -------
    dict of int to str
        By the numbers of the steps on the way back: ``"right"``, ``"wrong from here on"``, ``"wrong"`` or
        ``"unknown"``. It is empty if the arrays are not those of the program.
    """
    if len(arrays) != len(program.parameters):
        return {}
    steps = program.steps
    found = [*zip(program.parameters, arrays, strict=True), *between]
    needed, reached = set(program.needed), _leading_to(program, program.parameters)
    way = [number for number in range(len(steps)) if number in needed and reached[number]]
    above = _leading_to(program, [number for number, status in found if status == RIGHT])
    wrong = _below(program, [number for number, status in between if status == WRONG])
    wrong |= {number for number, status in found if status == WRONG}
    mistake = astray or Astray()
    verdicts = {}
    for number in way:
        if number in mistake.wrong:
            verdicts[number] = WRONG
        elif above[number] or mistake.is_whole or number in mistake.turning:
            verdicts[number] = RIGHT
        else:
            verdicts[number] = WRONG if number in wrong else UNKNOWN
    verdicts |= dict.fromkeys((mistake.turning & verdicts.keys()) - mistake.wrong, TURNING)
    if astray is None:
        verdicts |= dict.fromkeys(_turning(program, verdicts), TURNING)
    return verdicts


def _turning(program: Program, verdicts: dict[int, str]) -> Iterator[int]:
    """Yields the steps from which something wrong must go back, for they are right and all that reads a wrong step."""
    readers: dict[int, list[int]] = {}
    for number in verdicts:
        for source in program.steps[number].inputs:
            readers.setdefault(source, []).append(number)
    for number, verdict in verdicts.items():
        own = readers.get(number, [])
        if verdict == WRONG and own and all(verdicts[reader] == RIGHT for reader in own):
            yield from own


def _leading_to(program: Program, places: Iterable[int]) -> list[bool]:
    """Marks the steps that depend on one of some steps, or are one."""
    marks = [False] * len(program.steps)
    for number in places:
        marks[number] = True
    for number, step in enumerate(program.steps):
        marks[number] = marks[number] or any(marks[source] for source in step.inputs)
    return marks


def _below(program: Program, places: Iterable[int]) -> set[int]:
    """Returns some steps, and those that they depend on."""
    found = set(places)
    for number in range(max(found, default=-1), -1, -1):
        if number in found:
            found.update(program.steps[number].inputs)
    return found
