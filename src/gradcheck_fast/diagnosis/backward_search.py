"""Searches a recorded gradient function for the first of its statements that parts from what is right.

Each intermediate of the gradient function is looked up among the arrays that rightly come up on the way back
(`graph.known_arrays`). From the wrong arrays of the gradient the search goes back through all that is not recognised.
The steps that it meets are candidates, in the order in which they ran. A candidate stands the test if the rest of the
function makes a wrong array right once the candidate has one of the right arrays as its value: the function is run once
more with it, in all passes of a loop. What has no such value, or does not make anything right, is never named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from gradcheck_fast.diagnosis.backward_places import Wanted, is_sensitivity_of, where
from gradcheck_fast.diagnosis.graph.known_arrays import SAME, Known, Match, are_same, oriented
from gradcheck_fast.diagnosis.graph.replay import MOVEMENTS
from gradcheck_fast.frontends.numpy_trace.statements import Place

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.diagnosis.graph.recognised import Recognised

    Reals: TypeAlias = NDArray[np.float64]

#: So many steps are computed again, at most.
MOST_WORK = 250_000
#: To recognise an array takes as long as to compute so many steps.
_LOOK_UP = 4
#: Whether a value may be the right one, this many steps after it must show.
_SOON = 40
#: So many right arrays are tried for a candidate, beside the gradients themselves: those that come up nearest to it.
_MOST_TRIED = 60
#: If none of them shows soon, these many are tried in all passes of a loop.
_MOST_IN_LOOPS = 4
#: A mistake is said to lie in so many statements, at most.
MOST_PLACES = 2
#: Single numbers are candidates if no more than so many are known: among more of them, some are equal by chance.
_MOST_NUMBERS = 40


class Found(NamedTuple):
    """A step that stands the test.

    Attributes
    ----------
    step : int
        Its first occurrence that parts.
    wanted : Wanted
    kind : {"parts", "misused", "incomplete", "short"}
        Whether its result is wrong; or is the sensitivity of another step than the one that it is used for; or is one
        of several parts that should have been added; or is made of what is not all that goes back.
    repaired : tuple of str
        The arrays of the gradient that are right if the step is.
    places : tuple of Place
        The statements in which the mistake is, in the order in which they ran; one, if all that it reads is right.
    passes : (int, int)
        Which occurrence of the step it is, and of how many.
    """

    step: int
    wanted: Wanted
    kind: str
    repaired: tuple[str, ...]
    places: tuple[Place, ...]
    passes: tuple[int, int]


class Search:
    """The search in one recorded gradient function.

    Parameters
    ----------
    at : Recognised
    """

    def __init__(self, at: Recognised) -> None:
        self.at, self.work = at, 0

    def first(self) -> Found | None:
        """Returns the first step that stands the test; None if none does, or if it takes too long to find."""
        at = self.at
        if not at.wrong or self._is_one_factor() or self._are_exchanged():
            return None
        candidates = [number for number in sorted(at.region | at.misused) if self._is_candidate(number)]
        last = {at.instruction[number]: number for number in candidates}
        for is_late in (False, True):
            tried: set[object] = set()
            for number in candidates:
                instruction = at.instruction[number]
                if instruction in tried and (number != last[instruction] or is_late):
                    continue
                found = self._try_late(number) if is_late else self._try(number, alone=instruction in tried)
                if found is not None or self.work > MOST_WORK:
                    return found
                tried.add(instruction)
        return None

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
        largest = int(np.argmax([np.abs(array).max() for array in right]))
        factor = float(own[largest] @ right[largest]) / float(right[largest] @ right[largest])
        return factor != 0.0 and all(are_same(a, factor * b) for a, b in zip(own, right, strict=True))

    def _is_candidate(self, number: int) -> bool:
        at = self.at
        if number in at.rescued or at.is_given(number) or not at.places(number) or not np.any(at.values[number]):
            return False
        return np.size(at.values[number]) > 1 or len(at.known.of_size(1)) <= _MOST_NUMBERS

    def _are_exchanged(self) -> bool:
        """Whether what is given for one array is the gradient of another."""
        at = self.at
        parameters = {number: name for name, number in at.parameter.items()}
        return any(
            match.known.kind == "bar" and match.known.place is None and parameters.get(match.known.step, name) != name
            for name in at.wrong for match in at.matches(at.outputs[name].step)
        )  # fmt: skip

    def _try(self, number: int, *, alone: bool) -> Found | None:
        for wanted in self._options(number):
            if self.work > MOST_WORK:
                return None
            if self._shows_soon(number, wanted.array):
                found = self._tested(number, wanted, alone=alone)
                if found is not None:
                    return found
        return None

    def _try_late(self, number: int) -> Found | None:
        """Tries a step of a loop of which nothing is recognised before the loop ends."""
        if len(self.at.occurrences[self.at.instruction[number]]) < 2:
            return None
        for wanted in islice(self._options(number), _MOST_IN_LOOPS):
            found = self._tested(number, wanted, alone=False)
            if found is not None or self.work > MOST_WORK:
                return found
        return None

    # ---- what a step may have to give

    def _options(self, number: int) -> Iterator[Wanted]:
        """Yields the right arrays that a step may have to give: those of its size, the nearest first."""
        at = self.at
        value, bar = at.value(number), at.bar(number)
        near, slices = self._near(number)
        outputs = {at.parameter[name] for name in at.wrong}

        def distance(known: Known) -> float:
            if known.kind == "bar" and known.step in outputs and known.place is None:
                return -1.0
            far = min((abs(known.step - other) for other in near), default=0)
            return far + (1e4 if known.place is not None and known.place not in slices else 0.0)

        targets = {match.known.step for match in at.flows(number)}
        kinds = ("bar", "flow") if bar is not None else ("bar", "flow", "value", "slope")
        found = [known for known in at.known.of_size(value.size) if known.kind in kinds]
        if bar is not None:
            is_value = any(match.is_exact and match.known.kind == "value" for match in at.matches(number))
            found = [known for known in found if not self._is_less(known, bar, is_value)]
        elif targets:
            found = [known for known in found if known.kind == "bar" and is_sensitivity_of(self.at, known, targets)]
        found.sort(key=lambda known: (distance(known), -known.step))
        for known in found[:_MOST_TRIED]:
            factors = [bar.factor] if bar is not None and known.step != bar.known.step else at.factors
            for turn, array in enumerate(oriented(known.array, value.shape)):
                for factor in factors if known.kind in ("bar", "flow") else (1.0,):
                    wanted = factor * array if factor != 1.0 else array
                    if not are_same(wanted, value) and np.any(wanted):
                        yield Wanted(known, wanted, self._turned(turn, factor))
        yield from self._parts(number)

    def _near(self, number: int) -> tuple[list[int], set[tuple[int, int] | None]]:
        """Returns the steps of the loss of whose values or sensitivities a step is made, and the slices."""
        at = self.at
        waiting, seen = [number], {number}
        found: set[int] = set()
        slices: set[tuple[int, int] | None] = set()
        while waiting:
            for source in at.steps[waiting.pop()].inputs:
                if source in seen:
                    continue
                seen.add(source)
                if source < at.begin:
                    found.add(source)
                    continue
                matches = [match for match in at.matches(source) if match.known.kind in ("bar", "value", "flow")]
                found.update(match.known.step for match in matches[:_LOOK_UP])
                slices.update(match.known.place for match in matches[:_LOOK_UP])
                if not matches:
                    waiting.append(source)
        return sorted(found), slices

    def _is_less(self, known: Known, bar: Match, is_value: bool) -> bool:
        """Whether an array comes up before a sensitivity on the way back, or is that itself, which is right."""
        if known.step == bar.known.step:
            return known.kind == "bar" and known.place == bar.known.place and (bar.is_exact or is_value)
        return known.kind == "bar" and bool(self.at.backward.above[known.step] >> bar.known.step & 1)

    def _turned(self, turn: int, factor: float) -> Callable[[int, Known], Reals | None]:
        def at(occurrence: int, member: Known) -> Reals | None:
            turned = list(oriented(member.array, np.shape(self.at.values[occurrence])))
            return factor * turned[turn] if turn < len(turned) else None

        return at

    def _parts(self, number: int) -> Iterator[Wanted]:
        """Yields the parts of right arrays that belong where a step's value is put, if the rest of these is there."""
        at = self.at
        for reader in at.replay.readers.get(number, ()):
            if reader not in at.region or at.steps[reader].name not in MOVEMENTS:
                continue
            whole, goes = at.value(reader), self._goes(reader, number)
            if goes is None or (goes < 0).any() or goes.size == whole.size:
                continue
            others = np.ones(whole.size, np.bool_)
            others[goes] = False
            for known in at.known.of_size(whole.size):
                for turn, array in enumerate(oriented(known.array, whole.shape)):
                    if known.kind in ("bar", "flow") and _fits(array.ravel(), whole.ravel(), others):
                        part = array.ravel()[goes].reshape(np.shape(at.values[number]))
                        yield Wanted(known, part, self._part_turned(reader, turn))

    def _goes(self, reader: int, number: int) -> NDArray[np.intp] | None:
        origins, inputs = self.at.replay.origins(reader), self.at.steps[reader].inputs
        return None if origins is None or inputs.count(number) != 1 else origins[inputs.index(number)]

    def _part_turned(self, reader: int, turn: int) -> Callable[[int, Known], Reals | None]:
        instruction, values = self.at.instruction, self.at.values

        def at(occurrence: int, member: Known) -> Reals | None:
            for own in self.at.replay.readers.get(occurrence, ()):
                if instruction[own] == instruction[reader]:
                    turned = list(oriented(member.array, np.shape(values[own])))
                    goes = self._goes(own, occurrence)
                    if turn < len(turned) and goes is not None and not (goes < 0).any():
                        return turned[turn].ravel()[goes].reshape(np.shape(values[occurrence]))
            return None

        return at

    # ---- whether it would be right then

    def _shows_soon(self, number: int, array: Reals) -> bool:
        """Whether something is recognised soon after a step once it has another value."""
        at = self.at
        changed = self._replayed({number: array}, _SOON)
        if changed is None:
            return False
        for name, out in at.outputs.items():
            if out.step in changed and not at.is_right[name] and at.agrees(name, out.of(changed[out.step])):
                return True
        for step, value in changed.items():
            is_moved = at.steps[step].name in MOVEMENTS and len(at.steps[step].inputs) == 1
            if step == number or step not in at.relevant or is_moved:
                continue
            self.work += _LOOK_UP
            new = at.known.find(np.asarray(value, np.float64))
            if new and not (at.matches(step) and at.matches(step)[0].is_exact):
                return True
        return False

    def _replayed(self, given: dict[int, Reals], most: int | None = None) -> dict[int, Reals] | None:
        try:
            changed = self.at.replay.with_values(given, most)
        except (ArithmeticError, ValueError, np.linalg.LinAlgError):  # it is not defined for this value
            return None
        self.work += len(changed)
        return changed

    def _tested(self, number: int, wanted: Wanted, *, alone: bool) -> Found | None:
        """Returns what is found if a step has to give this, in all passes of its loop; None if it is not enough."""
        at, best = self.at, list[Found]()
        kind, places, within = where(self.at, number, wanted)
        reachable = at.wrong_below(within)
        for given in self._in_all_passes(number, wanted, alone):
            changed = self._replayed(given)
            if changed is None:
                continue
            after = {
                name: at.agrees(name, out.of(changed.get(out.step, at.values[out.step])))
                for name, out in at.outputs.items()
            }
            repaired = tuple(name for name in at.wrong if after[name])
            if len(repaired) == len(at.wrong):  # one mistake explains all, so what it is made of is right
                kind, places, within = where(self.at, number, wanted, is_all=True)
            if not repaired or any(at.is_right[name] and not is_right for name, is_right in after.items()):
                continue
            if len(places) > (1 if kind == "short" else MOST_PLACES) or not set(repaired) >= reachable:
                continue
            if not set(repaired) >= set(at.wrong) and self._reads_unknown_constants(within):
                continue
            passes = at.occurrences[at.instruction[number]]
            which = passes.index(number) + 1, len(passes)
            best.append(Found(number, wanted, kind, repaired, tuple(places), which))
        return max(best, key=lambda found: len(found.repaired), default=None)

    def _reads_unknown_constants(self, numbers: set[int]) -> bool:
        """Whether steps read arrays that the gradient function has made of plain numbers, and that may be wrong."""
        at = self.at
        read = {k for number in numbers for k in at.steps[number].inputs if k >= at.begin}
        return any(at.steps[k].name == "constant" and np.ptp(at.value(k)) > 0.0 and not at.matches(k) for k in read)

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


def _fits(array: Reals, whole: Reals, others: NDArray[np.bool_]) -> bool:
    off = np.abs(array - whole) > SAME * np.abs(array).max(initial=0.0)
    return not off[others].any() and bool(np.any(array[others])) and bool(off[~others].any())
