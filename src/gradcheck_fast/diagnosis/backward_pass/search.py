"""Searches a recorded gradient function for the first of its statements that parts from what is right.

Each intermediate of the gradient function is looked up among the arrays that rightly come up on the way back
(`known_arrays`). From the wrong arrays of the gradient the search goes back through all that is not recognised. The
steps that it meets are candidates, in the order in which they ran. A candidate stands the test if the rest of the
function makes a wrong array right once the candidate has one of the right arrays as its value: the function is run once
more with it, in all passes of a loop. What has no such value, or does not make anything right, is never named.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from itertools import islice
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from gradcheck_fast.diagnosis.backward_pass.known_arrays import KnownArray
from gradcheck_fast.diagnosis.backward_pass.local import Local, StatementVisit
from gradcheck_fast.diagnosis.backward_pass.options import Options
from gradcheck_fast.diagnosis.backward_pass.places import Wanted, where
from gradcheck_fast.diagnosis.backward_pass.replay import MOVEMENTS
from gradcheck_fast.diagnosis.lookup import are_same
from gradcheck_fast.frontends.numpy_trace.statements import StatementLines

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.diagnosis.backward_pass.recognised import Recognised

    Reals: TypeAlias = NDArray[np.float64]

#: A search ends after so many seconds.
SECONDS = 10.0
#: So many steps are computed again, at most, and so many more for each step of the loss.
_MOST_WORK, _MOST_PER_STEP = 8_000, 10
#: So many, if the cause of all that is wrong is known, and only the line is looked for.
_MOST_WORK_OF_KNOWN = 2_500
#: To recognise an array takes as long as to compute so many steps.
_LOOK_UP = 4
#: Whether a value may be the right one, this many steps after it must show.
_SOON = 16
#: If none of them shows soon, these many are tried in all passes of a loop.
_MOST_IN_LOOPS = 4
#: What is no larger than this part of what was there is rounding.
_ROUNDING = 1e-12
#: What is made in more statements than this is not looked for.
_MOST_PLACES = 2


class FirstWrong(NamedTuple):
    """A step that stands the test.

    Attributes
    ----------
    step : int
        Its first occurrence that parts.
    wanted : Wanted
    kind : {"parts", "incomplete", "unclear"}
        As in `places.where`.
    repaired : tuple of str
        The arrays of the gradient that are right if the step is.
    places : tuple of StatementLines
        The statements in which the mistake is, in the order in which they ran; one, if all that it reads is right.
    passes : (int, int)
        Which occurrence of the step it is, and of how many.
    local : Local or None
        The one thing in the statement that makes it right, if there is one.
    is_beside : bool
        Whether another step must be right, too, for the arrays to be right.
    """

    step: int
    wanted: Wanted
    kind: str
    repaired: tuple[str, ...]
    places: tuple[StatementLines, ...]
    passes: tuple[int, int]
    local: Local | None = None
    is_beside: bool = False

    @property
    def is_certain(self) -> bool:
        """Whether the mistake is in one statement, and in what that makes of what it reads."""
        return self.kind != "unclear" and len(self.places) == 1


class FirstWrongSearch:
    """The search in one recorded gradient function.

    Parameters
    ----------
    at : Recognised
    is_cause_known : bool
        Whether the mistake is known already from the numbers of the gradient: then it takes less time.

    Attributes
    ----------
    is_over_time : bool
        Whether it was ended after `SECONDS`.
    """

    def __init__(self, at: Recognised, *, is_cause_known: bool = False) -> None:
        self.at, self.work, self.options = at, 0, Options(at)
        self._parameters = set(at.parameter.values())
        most = _MOST_WORK + _MOST_PER_STEP * len(at.backward.steps)
        self._most_work = _MOST_WORK_OF_KNOWN if is_cause_known else most
        self._end = perf_counter() + SECONDS
        self.is_over_time = False

    def first(self) -> FirstWrong | None:
        """Returns the first step that stands the test; None if none does, if it takes too long, or if it is unclear."""
        at = self.at
        if not at.wrong or self._is_one_factor() or self._are_exchanged():
            return None
        last = {at.instruction[number]: number for number in self.candidates}
        for is_late in (False, True):
            tried: set[object] = set()
            for number in self._in_order(self.candidates):
                instruction = at.instruction[number]
                if instruction in tried and (number != last[instruction] or is_late):
                    continue
                found = self._try_late(number) if is_late else self._try(number, alone=instruction in tried)
                if found is not None or self.is_over():
                    return found
                tried.add(instruction)
        return None

    @cached_property
    def candidates(self) -> list[int]:
        """The steps that may be wrong, in the order in which they run."""
        at = self.at
        return [number for number in sorted(at.region | at.misused) if self._is_candidate(number)]

    def prolong(self, work: int) -> None:
        """Allows for more work."""
        self._most_work += work

    def is_over(self) -> bool:
        """Whether the search has taken as long as it may."""
        self.is_over_time |= perf_counter() > self._end
        return self.is_over_time or self.work > self._most_work

    def _in_order(self, candidates: list[int]) -> list[int]:
        """Returns the candidates statement by statement; of each, the result of the statement first."""
        at = self.at
        visits: list[list[int]] = []
        for number in candidates:
            own = visits[-1] if visits else []
            is_same = own and at.places(own[-1]) == at.places(number)
            if is_same and all(at.instruction[k] != at.instruction[number] for k in own):
                own.append(number)
            else:
                visits.append([number])
        return [number for own in visits for number in reversed(own)]

    def _is_one_factor(self) -> bool:
        """Whether the whole gradient is wrong by one factor, which may be left out anywhere."""
        at = self.at
        own: list[Reals] = []
        right: list[Reals] = []
        for name, out in at.outputs.items():
            bar = at.backward.bars.get(at.parameter[name])
            if bar is not None and np.any(bar):
                own.append(np.ravel(out.of(at.values[out.step])))
                right.append(np.ravel(bar))
        if not right:
            return False
        largest = int(np.argmax([np.abs(array).max() for array in right]))
        factor = float(own[largest] @ right[largest]) / float(right[largest] @ right[largest])
        return factor != 0.0 and all(are_same(a, factor * b) for a, b in zip(own, right, strict=True))

    def _is_candidate(self, number: int) -> bool:
        at = self.at
        if number in at.rescued or at.is_given(number) or not at.places(number) or not np.any(at.values[number]):
            return False
        if at.is_probability(number):  # what follows makes something that goes back of it
            return False
        return np.size(at.values[number]) > 1 or at.has_few_numbers

    def _are_exchanged(self) -> bool:
        """Whether what is given for one array is the gradient of another."""
        at = self.at
        parameters = {number: name for name, number in at.parameter.items()}
        return any(
            match.known.kind == "bar" and match.known.place is None and parameters.get(match.known.step, name) != name
            for name in at.wrong for match in at.matches(at.outputs[name].step)
        )  # fmt: skip

    def _try(self, number: int, *, alone: bool) -> FirstWrong | None:
        for wanted in self.options.of(number):
            if self.is_over():
                return None
            # what goes back to a parameter from one use of it only shows in the sum over all of them
            is_use = wanted.known.kind == "flow" and wanted.known.step in self._parameters
            if is_use or self._shows_soon(number, wanted.array):
                found = self.tested(number, wanted, alone=alone)
                if found is not None:
                    return found
        return None

    def _try_late(self, number: int) -> FirstWrong | None:
        """Tries a step of a loop of which nothing is recognised before the loop ends."""
        if len(self.at.occurrences[self.at.instruction[number]]) < 2:
            return None
        for wanted in islice(self.options.of(number), _MOST_IN_LOOPS):
            found = self.tested(number, wanted, alone=False)
            if found is not None or self.is_over():
                return found
        return None

    # ---- whether it would be right then

    def _shows_soon(self, number: int, array: Reals) -> bool:
        """Whether something is recognised soon after a step once it has another value."""
        at = self.at
        changed = self.replayed({number: array}, _SOON)
        if changed is None:
            return False
        for name, out in at.outputs.items():
            if out.step in changed and not at.is_right[name] and at.agrees(name, out.of(changed[out.step])):
                return True
        for step, value in changed.items():
            is_moved = at.steps[step].name in MOVEMENTS and len(at.steps[step].inputs) == 1
            is_same = value.size == array.size and are_same(np.ravel(value), np.ravel(array))
            if step == number or step not in at.relevant or is_moved or is_same:
                continue
            before = at.known.compared
            new = at.known.find(np.asarray(value, np.float64))
            self.work += _LOOK_UP + at.known.compared - before
            comes_back = any(match.known.kind in ("bar", "flow") and at.is_usual(match.factor) for match in new)
            if comes_back and not (at.matches(step) and at.matches(step)[0].is_exact):
                return True
        return False

    def replayed(self, given: dict[int, Reals], most: int | None = None) -> dict[int, Reals] | None:
        """Returns the values of the steps that change with some given ones; None if they are not defined then."""
        try:
            changed = self.at.replay.with_values(given, most)
        except (ArithmeticError, ValueError, np.linalg.LinAlgError):  # it is not defined for this value
            return None
        self.work += len(changed)
        return changed

    def tested(self, number: int, wanted: Wanted, *, alone: bool) -> FirstWrong | None:
        """Returns what is found if a step has to give this, in all passes of its loop; None if it is not enough."""
        at, best = self.at, list[FirstWrong]()
        for given in self._in_all_passes(number, wanted, alone):
            changed = self.replayed(given)
            if changed is None:
                continue
            after = {
                name: at.agrees(name, out.of(changed[out.step])) if out.step in changed else at.is_right[name]
                for name, out in at.outputs.items()
            }
            repaired = tuple(name for name in at.wrong if after[name])
            if not repaired or any(at.is_right[name] and not is_right for name, is_right in after.items()):
                continue
            # if one mistake explains all, what it is made of is right
            kind, places, within = where(at, number, wanted, is_all=len(repaired) == len(at.wrong))
            reachable = at.wrong_below(where(at, number, wanted)[2])
            if len(places) > (1 if kind == "unclear" else _MOST_PLACES) or not set(repaired) >= reachable:
                continue
            if kind == "parts" and (
                self._is_total(number)
                or self.is_a_part(number, wanted.known)
                or self._is_read_wrong(wanted.known, within, repaired)
            ):
                continue
            if kind == "incomplete" and (
                not self._is_turned_alike(number, wanted)
                or not self._is_made_of_right(number)
                or self._is_overwritten(number, wanted)
                or self._takes_away(changed)
            ):
                continue
            passes = at.occurrences[at.instruction[number]]
            which = passes.index(number) + 1, len(passes)
            best.append(FirstWrong(number, wanted, kind, repaired, tuple(places), which))
        return max(best, key=lambda found: len(found.repaired), default=None)

    def _is_total(self, number: int) -> bool:
        """Whether a step adds to what an earlier pass of a loop has given: it is wrong if any of them is."""
        at, own, places = self.at, self.at.instruction[number], self.at.places(number)
        waiting, seen = [number], {number}
        while waiting:
            for source in at.steps[waiting.pop()].inputs:
                if source < at.begin or source in seen or at.places(source) != places:
                    continue
                if at.instruction[source] == own:
                    return True
                seen.add(source)
                waiting.append(source)
        return False

    def is_a_part(self, number: int, wanted: KnownArray) -> bool:
        """Whether a step rightly is something else that goes back, so that what is made of it is wrong, but not it."""
        for match in self.at.matches(number):
            known = match.known
            if known.kind == "flow" and known.edges != wanted.edges and (match.is_exact or known.step == wanted.step):
                return True
            if known.kind == "bar" and match.is_exact and known.place is None and not self.at.readers(number):
                return True
        return False

    def _is_made_of_right(self, number: int) -> bool:
        """Whether all arrays that a statement reads are recognised, and none is a multiple of what it gives already."""
        at = self.at
        own = {match.known.edges for match in at.flows(number)}
        made = [k for place in at.places(number) for k in StatementVisit(at, number, place).read if not at.is_given(k)]
        for source in made:
            found = at.matches(source)
            if any(match.known.kind == "flow" and match.known.edges in own for match in found):
                return False
            if not found and source not in at.rescued and np.any(at.values[source]):
                return False
        return True

    def _takes_away(self, changed: dict[int, Reals]) -> bool:
        """Whether some of what was there is zero but for rounding with another value: it may be wrong by itself.

        An array of the gradient that nothing reads may well be zero, as that of a bias before a normalisation.
        """
        at = self.at
        sizes = ((np.abs(at.value(k)).max(initial=0.0), np.abs(v).max(initial=0.0)) for k, v in changed.items()
                 if at.readers(k))  # fmt: skip
        return any(after <= _ROUNDING * before for before, after in sizes if before)

    def _is_overwritten(self, number: int, wanted: Wanted) -> bool:
        """Whether what a step lacks was computed before, but is not used: another statement may have overwritten it."""
        at, own = self.at, self.at.value(number)
        if own.shape != wanted.array.shape:
            return False
        rest = wanted.array - own
        return any(
            are_same(at.value(step).ravel(), rest.ravel())
            for step in range(at.begin, number)
            if step not in at.relevant and np.size(at.values[step]) == rest.size and at.flows(step)
        )

    def _is_turned_alike(self, number: int, wanted: Wanted) -> bool:
        """Whether what a step gives has its axes in the order of the array that it is only a part of."""
        own, whole = self.at.value(number), wanted.known.array
        if whole.shape != own.shape or not are_same(whole, wanted.array):
            return True
        return any(are_same(match.known.array, own) for match in self.at.flows(number))

    def _is_read_wrong(self, wanted: KnownArray, within: set[int], repaired: tuple[str, ...]) -> bool:
        """Whether what the steps of a statement read may be wrong, so that it is not the first that parts."""
        at = self.at
        read = {k for step in within for k in at.steps[step].inputs if k not in within}
        made = {k for k in read if k >= at.begin}
        # arrays that the gradient function has made of plain numbers
        if any(
            at.steps[k].name == "constant" and np.size(at.values[k]) > 1 and np.any(at.values[k]) and not at.matches(k)
            for k in made
        ):
            return True
        # nothing that comes back is read, but there is more that is wrong than this line explains
        comes_back = any(
            at.bar(k) is not None or any(match.known.step == wanted.step for match in at.flows(k)) for k in made
        )
        return not comes_back and len(repaired) < len(at.wrong)

    def _in_all_passes(self, number: int, wanted: Wanted, alone: bool) -> Iterator[dict[int, Reals]]:
        """Yields the right values of all passes of a loop from this one on: later or earlier members of the family."""
        yield {number: wanted.array}
        every = self.at.occurrences[self.at.instruction[number]]
        occurrences = every[every.index(number) :]
        family = self.at.known.family(wanted.known)
        if alone or len(occurrences) < 2 or len(family) < 2:
            return
        place = next(k for k, member in enumerate(family) if member is wanted.known)
        for members in (family[place::-1], family[place:]):
            given: dict[int, Reals] = {}
            for occurrence, member in zip(occurrences, members, strict=False):
                array = wanted.at(occurrence, member)
                if array is None:
                    break
                given[occurrence] = array
            if len(given) > 1:
                yield given
