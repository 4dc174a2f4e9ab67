"""Says in which statements a mistake is, once a step is found that should have given something else."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from gradcheck_fast.diagnosis.backward_pass.known_arrays import Known, are_same

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.diagnosis.backward_pass.recognised import Recognised
    from gradcheck_fast.frontends.numpy_trace.statements import Place

    Reals: TypeAlias = NDArray[np.float64]


class Wanted(NamedTuple):
    """What a step should have given.

    Attributes
    ----------
    known : Known
        The right array, of which it may be a part.
    array : ndarray
        The right value, of the shape of the step.
    at : callable
        ``at(occurrence, member)`` returns the right value of another occurrence of the step, if the member of the
        family of `known` belongs to it; None if there is none.
    """

    known: Known
    array: Reals
    at: Callable[[int, Known], Reals | None]


def is_sensitivity_of(at: Recognised, known: Known, steps: set[int]) -> bool:
    """Whether an array is the sensitivity of one of some steps."""
    bars = at.backward.bars
    return known.step in steps or any(are_same(known.array, bars[step]) for step in steps)


def where(at: Recognised, number: int, wanted: Wanted, *, is_all: bool = False) -> tuple[str, list[Place], set[int]]:
    """Returns what is wrong with a step, and the statements and steps in which the mistake then is."""
    own, bar = at.places(number), at.bar(number)
    targets = {match.known.step for match in at.flows(number)}
    if targets and wanted.known.kind == "bar" and is_sensitivity_of(at, wanted.known, targets):
        return "incomplete", own, {number}
    if (
        bar is not None
        and number in at.misused
        and (wanted.known.step, wanted.known.place) != (bar.known.step, bar.known.place)
    ):
        readers = [place for k in at.readers(number) for place in at.places(k)]
        return "misused", list(dict.fromkeys((*_same(at, number)[:1], *readers[:1]))), {number}
    found = dict.fromkeys(own, number)
    reading = {place for k in at.readers(number) for place in at.places(k)}
    if bar is not None and len(reading) == 1:
        found.update((place, at.readers(number)[0]) for place in reading if place not in found)
    waiting, seen, within, read = [number], {number}, {number}, set[int]()
    while waiting:
        for source in at.steps[waiting.pop()].inputs:
            if source in seen or at.is_given(source):
                continue
            seen.add(source)
            if _is_right(at, source, wanted, is_all):
                read.add(source)
                continue
            places = at.places(source)
            for place in places:
                found[place] = min(found.get(place, source), source)
            within.add(source)
            if not at.is_exact(source):
                waiting.append(source)
    kind = "parts" if _is_enough(at, read, wanted) else "short"
    return kind, sorted(found, key=lambda place: found[place]), within


def _is_enough(at: Recognised, read: set[int], wanted: Wanted) -> bool:
    """Whether what is read has all in it that goes back to a step: no path from it to the cost passes it by."""
    known = wanted.known
    matches = [match for number in read for match in at.matches(number) if match.known.kind in ("bar", "flow")]
    if (
        not matches
        or known.kind != "bar"
        or known.place is not None
        or any(match.known.place is not None for match in matches)
    ):
        return True
    passed = {match.known.step for match in matches if match.known.kind == "bar"}
    if known.step in passed:
        return True
    edges = {edge for match in matches if match.known.kind == "flow" for edge in match.known.edges}
    waiting, seen = [known.step], {known.step}
    while waiting:
        step = waiting.pop()
        readers = at.backward.readers.get(step, [])
        if not readers:
            return False
        for number, k in readers:
            if number not in passed and (number, k) not in edges and number not in seen:
                seen.add(number)
                waiting.append(number)
    return True


def _is_right(at: Recognised, number: int, wanted: Wanted, is_all: bool) -> bool:
    """Whether what a step gives can be taken for right by those that read it."""
    bar = at.bar(number)
    if number in at.rescued or bar is not None:
        is_alone = is_all and bar is not None and bar.known.place is None and bar.factor >= 1.0 - 1e-9
        return number in at.rescued or (
            is_alone or (bar is not None and bar.is_exact and not _is_read_twice(at, number))
        )
    exact = [match for match in at.matches(number) if match.is_exact]
    if any(match.known.kind == "slope" for match in exact):
        return True
    if any(match.known.kind == "value" for match in exact):
        return at.is_repeated(number)
    return any(match.known.kind == "flow" and match.known.step == wanted.known.step for match in exact)


def _same(at: Recognised, number: int) -> list[Place]:
    """Returns the statements that have given a sensitivity, or handed it on."""
    found: list[Place] = []
    waiting, bar = [number], at.bar(number)
    while waiting:
        step = waiting.pop()
        found = at.places(step) + found
        for source in at.steps[step].inputs:
            other = at.bar(source)
            if other is not None and bar is not None and other.known.array is bar.known.array:
                waiting.append(source)
    return found


def _is_read_twice(at: Recognised, number: int) -> bool:
    """Whether several statements read a step."""
    return len({place for k in at.readers(number) for place in at.places(k)}) > 1
