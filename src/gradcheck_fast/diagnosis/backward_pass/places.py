"""Says in which statements a mistake is, once a step is found that should have given something else."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from gradcheck_fast.diagnosis.backward_pass.known_arrays import KnownArray
from gradcheck_fast.diagnosis.lookup import are_same

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.diagnosis.backward_pass.recognised import Recognised
    from gradcheck_fast.frontends.numpy_trace.statements import StatementLines

    Reals: TypeAlias = NDArray[np.float64]


class Wanted(NamedTuple):
    """What a step should have given.

    Attributes
    ----------
    known : KnownArray
        The right array, of which it may be a part.
    array : ndarray
        The right value, of the shape of the step.
    at : callable
        ``at(occurrence, member)`` returns the right value of another occurrence of the step, if the member of the
        family of `known` belongs to it; None if there is none.
    """

    known: KnownArray
    array: Reals
    at: Callable[[int, KnownArray], Reals | None]


def is_sensitivity_of(at: Recognised, known: KnownArray, steps: set[int]) -> bool:
    """Whether an array is the sensitivity of one of some steps."""
    bars = at.backward.bars
    return known.step in steps or any(are_same(known.array, bars[step]) for step in steps)


def where(
    at: Recognised, number: int, wanted: Wanted, *, is_all: bool = False
) -> tuple[str, list[StatementLines], set[int]]:
    """Returns what is wrong with a step, and the statements and steps in which the mistake then is.

    What is wrong is "parts": its result; "incomplete": that it is one of several parts that should have been added; or
    "unclear": it is the sensitivity of another step than the one that it is used for, or is made of what is not all
    that goes back.
    """
    own, bar = at.places(number), at.bar(number)
    targets = {match.known.step for match in at.flows(number)}
    if targets and wanted.known.kind == "bar" and is_sensitivity_of(at, wanted.known, targets):
        return "incomplete", own, {number}
    if (
        bar is not None
        and number in at.misused
        and (wanted.known.step, wanted.known.place) != (bar.known.step, bar.known.place)
    ):
        # within one statement, it is that which makes something wrong of it
        is_one = {place for k in at.readers(number) for place in at.places(k)} == set(own) and len(own) == 1
        return "parts" if is_one else "unclear", own[:1], {number}
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
    kind = "parts" if _is_enough(at, read, wanted) else "unclear"
    return kind, sorted(found, key=lambda place: found[place]), within


def _is_enough(at: Recognised, read: set[int], wanted: Wanted) -> bool:
    """Whether what is read has all in it that goes back to a step: no path from it to the cost passes it by."""
    known = wanted.known
    if wanted.array.size != known.array.size:  # of what goes back to a part of it, nothing is known
        return True
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


def _is_read_twice(at: Recognised, number: int) -> bool:
    """Whether several statements read a step."""
    return len({place for k in at.readers(number) for place in at.places(k)}) > 1
