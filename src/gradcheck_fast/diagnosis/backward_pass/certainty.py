"""Says what is wrong with a step that stands the test, or that this is not certain.

The step may be in the middle of a statement, what the statement reads may be wrong already, and a factor may belong
into a statement before or after. What is not certain is not said.
"""

from __future__ import annotations

import linecache
import re
from heapq import heappop, heappush
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_fast.diagnosis.backward_pass.local import StatementVisit
from gradcheck_fast.diagnosis.backward_pass.options import turned
from gradcheck_fast.diagnosis.backward_pass.places import Wanted
from gradcheck_fast.diagnosis.backward_pass.replay import MOVEMENTS
from gradcheck_fast.diagnosis.lookup import SAME, are_same, factor_of, oriented

if TYPE_CHECKING:
    from gradcheck_fast.diagnosis.backward_pass.known_arrays import Match
    from gradcheck_fast.diagnosis.backward_pass.search import FirstWrong, FirstWrongSearch
    from gradcheck_fast.frontends.numpy_trace.statements import StatementLines
    from gradcheck_fast.program.program import Source


def certain(search: FirstWrongSearch, found: FirstWrong | None) -> FirstWrong | None:
    """Returns what was found as the mistake of a statement; None if it is not certain in which one it is."""
    for seen in (_as_a_statement, _with_its_mistake):
        found = seen(search, found) if found is not None and found.is_certain else None
    return found if found is not None and found.is_certain else None


def _as_a_statement(search: FirstWrongSearch, found: FirstWrong) -> FirstWrong | None:
    """Says of a whole statement what it should give, if the step is in the middle of it, and that is known.

    None if what it gives is right for something else.
    """
    at, own = search.at, found.places[0]
    if found.kind != "parts" or at.bar(found.step) is not None:
        return found
    changed = search.replayed({found.step: found.wanted.array}) or {}
    step, seen, best = found.step, {at.instruction[found.step]}, found
    while True:
        readers = at.readers(step)
        if len(readers) != 1 or at.places(readers[0]) != [own] or at.instruction[readers[0]] in seen:
            return best
        step = readers[0]
        seen.add(at.instruction[step])
        value = np.asarray(changed.get(step, at.values[step]), np.float64)
        match = next((m for m in at.known.find(value) if m.is_exact and m.known.kind in ("bar", "flow")), None)
        if match is not None and step in changed and value.size > 1 and not are_same(value, at.value(step)):
            if search.is_a_part(step, match.known):
                return None
            best = found._replace(step=step, wanted=Wanted(match.known, value, lambda _, __: None))


def _with_its_mistake(search: FirstWrongSearch, found: FirstWrong) -> FirstWrong | None:
    """Adds the one thing that is wrong in the statement, or goes to the line that has made what it reads wrong.

    None if it is not certain which of the two it is.
    """
    at = search.at
    if found.kind != "parts":
        return found
    factor = factor_of(at.value(found.step), found.wanted.array)
    if factor is not None:
        return _of_factor(search, found, factor)
    visit = StatementVisit(at, found.step, found.places[0])
    if visit.may_read_wrong(found.wanted) or _reads_unknown_numbers(search, visit, found.places[0]):
        return None
    local = visit.mistake(found.wanted)
    if local is None or local.known is None or at.is_given(local.step):
        return found._replace(local=local)
    array = list(oriented(local.known.array, np.shape(at.values[local.step])))[local.turn]
    if factor_of(at.value(local.step), array) is not None:  # it is a multiple of what belongs there
        wanted = Wanted(local.known, array, turned(at, local.turn, 1.0))
        above = search.tested(local.step, wanted, alone=False)
        is_as_good = above is not None and set(above.repaired) >= set(found.repaired)
        return _with_its_mistake(search, above) if above is not None and is_as_good else found
    if not any(match.is_exact for match in at.matches(local.step)):  # nothing is known of it
        return None if local.known.kind == "bar" else found
    # where nothing else is made of it, it may as well be the line before that should have given something else
    return found._replace(local=local) if local.step in at.rescued else None


def _reads_unknown_numbers(search: FirstWrongSearch, visit: StatementVisit, place: StatementLines) -> bool:
    """Whether a statement reads a single number that is neither written there nor comes up in the loss.

    What has made the number is not recorded, and may be wrong.
    """
    at = search.at
    text = "".join(linecache.getline(place.file, line) for line in range(place.first, place.last + 1))
    written = [float(number) for number in re.findall(r"(?<![\w.])(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", text)]
    read = {k for step in visit.steps for k in at.steps[step].inputs if at.steps[k].name == "constant"}
    numbers = [float(np.reshape(at.values[k], ())) for k in read if np.size(at.values[k]) == 1]
    factors = [1.0, *(number for number in written if number)]
    known = [
        c for c in numbers
        if c == 0.0 or abs(c) in written or any(at.is_explained(c / f) or at.is_explained(c * f) for f in factors)
    ]  # fmt: skip
    return len(known) < len(numbers)


def _of_factor(search: FirstWrongSearch, found: FirstWrong, factor: float) -> FirstWrong | None:
    """Returns the first line that is wrong by a factor; None if this may as well belong into another statement."""
    at = search.at
    for number in StatementVisit(at, found.step, found.places[0]).read if factor != 1.0 else ():
        match = None if at.is_given(number) else _with_factor(search, number, factor)
        if match is not None:  # what is read has it, too
            wanted = Wanted(match.known, at.value(number) / match.factor, lambda _, __: None)
            above = search.tested(number, wanted, alone=True)
            if above is not None and set(above.repaired) >= set(found.repaired):
                return _with_its_mistake(search, above)
            if not _is_right_for_others(search, number, wanted):
                return None
    is_unclear = _may_follow(search, found, factor) or (factor != 1.0 and _is_returned(search, found))
    return found if at.is_explained(factor) and not is_unclear else None


def _is_right_for_others(search: FirstWrongSearch, number: int, wanted: Wanted) -> bool:
    """Whether right arrays of the gradient are made of a step as it is, and would be wrong with another value."""
    at, changed = search.at, search.replayed({number: wanted.array})
    return changed is not None and any(
        out.step in changed and not are_same(np.asarray(changed[out.step]), at.value(out.step))
        for name, out in at.outputs.items()
        if name not in at.wrong
    )


def _is_returned(search: FirstWrongSearch, found: FirstWrong) -> bool:
    """Whether only the callers read what a statement gives, so that the line that returns it may lack a factor.

    Where it gives an array of the gradient, and others are right, it lacks the factor itself.
    """
    at, place = search.at, found.places[0]
    if any(out.step == found.step for out in at.outputs.values()) and len(at.wrong) < len(at.outputs):
        return False
    own = at.steps[found.step].source
    if own.caller is None or linecache.getline(place.file, place.first).strip().startswith("return "):
        return False

    def is_inside(source: Source | None) -> bool:
        while source is not None:
            if source.caller == own.caller:
                return True
            source = source.caller
        return False

    readers = at.readers(found.step)
    return bool(readers) and not any(is_inside(at.steps[reader].source) for reader in readers)


def _with_factor(search: FirstWrongSearch, number: int, factor: float) -> Match | None:
    """Returns the sensitivity that a step is but for a factor."""
    bars = (match for match in search.at.matches(number) if match.known.kind == "bar")
    return next((match for match in bars if abs(match.factor / factor - 1.0) <= SAME), None)


def _may_follow(search: FirstWrongSearch, found: FirstWrong, factor: float) -> bool:
    """Whether all that is made of a step goes through one of a later statement, where the factor is still there."""
    at, ends = search.at, {out.step for out in search.at.outputs.values()}
    waiting, seen = [found.step], {found.step}
    while waiting:
        number = heappop(waiting)
        is_moved = at.steps[number].name in MOVEMENTS and len(at.steps[number].inputs) == 1
        is_later = not is_moved and at.places(number) != list(found.places)
        if not waiting and is_later and _with_factor(search, number, factor):
            return True
        if number in ends:
            return False
        for reader in at.readers(number):
            if reader not in seen:
                seen.add(reader)
                heappush(waiting, reader)
    return False
