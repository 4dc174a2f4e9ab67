"""Lists the right arrays that a step of a recorded gradient function may have to give, the likeliest first."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from gradcheck_fast.diagnosis.backward_pass.known_arrays import KnownArray, Match
from gradcheck_fast.diagnosis.backward_pass.places import Wanted, is_sensitivity_of
from gradcheck_fast.diagnosis.backward_pass.replay import MOVEMENTS
from gradcheck_fast.diagnosis.lookup import SAME, are_same, oriented

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.diagnosis.backward_pass.recognised import Recognised

    Reals: TypeAlias = NDArray[np.float64]

#: Of what an array is recognised as, so many are looked at.
_MOST_MATCHES = 4
#: So many right arrays are tried for a step: those that come up nearest to what it is made of.
_MOST_TRIED = 24
#: More steps of the loss than this between two sensitivities are far.
_FAR = 30


class Options:
    """What the steps of a recorded gradient function may have to give.

    Parameters
    ----------
    at : Recognised
    """

    def __init__(self, at: Recognised) -> None:
        self.at = at

    def of(self, number: int) -> Iterator[Wanted]:
        """Yields the right arrays that a step may have to give: those of its size, the nearest first."""
        at = self.at
        value, bar = at.value(number), at.bar(number)
        near, slices = self._near(number)
        starts, read = self._read(number)
        hops = self._hops(starts)
        outputs = {at.parameter[name] for name in at.wrong}

        def distance(known: KnownArray) -> float:
            if known.kind == "bar" and known.step in outputs and known.place is None:
                return -1.0
            far = hops.get(known.step, _FAR)
            if known.step not in hops:
                place = bisect_left(near, known.step)
                far += min((abs(known.step - other) for other in near[max(place - 1, 0) : place + 1]), default=0)
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
        usual = list(dict.fromkeys((*read, 1.0))) if read else at.factors
        for known in found[:_MOST_TRIED]:
            factors = [bar.factor] if bar is not None and known.step != bar.known.step else usual
            for turn, array in enumerate(oriented(known.array, value.shape)):
                for factor in factors if known.kind in ("bar", "flow") else (1.0,):
                    wanted = factor * array if factor != 1.0 else array
                    if not are_same(wanted, value) and np.any(wanted):
                        yield Wanted(known, wanted, turned(at, turn, factor))
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
                found.update(match.known.step for match in matches[:_MOST_MATCHES])
                slices.update(match.known.place for match in matches[:_MOST_MATCHES])
                if not matches:
                    waiting.append(source)
        return sorted(found), slices

    def _read(self, number: int) -> tuple[list[int], list[float]]:
        """Returns the steps of the loss whose sensitivities a step is made of, and the factors that these have."""
        at = self.at
        waiting, seen, starts = [number], {number}, dict[int, None]()
        factors = dict[float, None]()
        while waiting:
            for source in at.steps[waiting.pop()].inputs:
                if source in seen or source < at.begin:
                    continue
                seen.add(source)
                found = [match for match in at.matches(source) if match.known.kind in ("bar", "flow")][:_MOST_MATCHES]
                starts |= dict.fromkeys(match.known.step for match in found)
                if np.size(at.values[source]) > 1:
                    usual = (f for f in at.factors if any(abs(match.factor / f - 1.0) < SAME for match in found))
                    factors |= dict.fromkeys(usual)
                if not found:
                    waiting.append(source)
        return list(starts), list(factors)

    def _hops(self, starts: list[int]) -> dict[int, int]:
        """Returns how many steps of the loss are between each and the nearest of some; the cost, if there are none."""
        at = self.at
        hops = dict.fromkeys(starts or [max(at.backward.bars)], 0)
        queue = list(hops)
        for step in queue:
            for _, source in at.backward.inner(step):
                if source not in hops and hops[step] < _FAR:
                    hops[source] = hops[step] + 1
                    queue.append(source)
        return hops

    def _is_less(self, known: KnownArray, bar: Match, is_value: bool) -> bool:
        """Whether an array comes up before a sensitivity on the way back, or is that itself, which is right."""
        if known.step == bar.known.step:
            return known.kind == "bar" and known.place == bar.known.place and (bar.is_exact or is_value)
        return known.kind == "bar" and bool(self.at.backward.above[known.step] >> bar.known.step & 1)

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

    def _part_turned(self, reader: int, turn: int) -> Callable[[int, KnownArray], Reals | None]:
        instruction, values = self.at.instruction, self.at.values

        def at(occurrence: int, member: KnownArray) -> Reals | None:
            for own in self.at.replay.readers.get(occurrence, ()):
                if instruction[own] == instruction[reader]:
                    arrays = list(oriented(member.array, np.shape(values[own])))
                    goes = self._goes(own, occurrence)
                    if turn < len(arrays) and goes is not None and not (goes < 0).any():
                        return arrays[turn].ravel()[goes].reshape(np.shape(values[occurrence]))
            return None

        return at


def turned(at: Recognised, turn: int, factor: float) -> Callable[[int, KnownArray], Reals | None]:
    """Returns the `Wanted.at` of a known array in one of its orientations, times a factor."""

    def of(occurrence: int, member: KnownArray) -> Reals | None:
        arrays = list(oriented(member.array, np.shape(at.values[occurrence])))
        return factor * arrays[turn] if turn < len(arrays) else None

    return of


def _fits(array: Reals, whole: Reals, others: NDArray[np.bool_]) -> bool:
    off = np.abs(array - whole) > SAME * np.abs(array).max(initial=0.0)
    return not off[others].any() and bool(np.any(array[others])) and bool(off[~others].any())
