"""Finds the one thing in a statement of a gradient function that, put right, makes its result right.

The statement has been found to part from what is right. Each array that it reads is replaced by each right array of its
size that there is at this place, and the steps of the statement are computed again; sums are taken over other axes. If
its result is then what it should be, to rounding, that is the mistake.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from gradcheck_fast.diagnosis.lookup import are_same, factor_of, oriented

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.diagnosis.backward_pass.known_arrays import KnownArray
    from gradcheck_fast.diagnosis.backward_pass.places import Wanted
    from gradcheck_fast.diagnosis.backward_pass.recognised import Recognised
    from gradcheck_fast.frontends.numpy_trace.statements import StatementLines

    Reals: TypeAlias = NDArray[np.float64]

#: So many right arrays are tried for each array that a statement reads: those of the nearest steps.
_MOST_TRIED = 48
#: A statement that reads more arrays, or has more steps, is not looked into.
_MOST_READ, _MOST_STEPS = 12, 60
#: What combines an array with others.
_ARITHMETIC = ("add", "subtract", "multiply", "divide", "power", "square")


class Local(NamedTuple):
    """The mistake in a statement.

    Attributes
    ----------
    kind : {"operand", "transposed", "axis"}
        It reads another array than it should; or the right one, with its axes in another order; or it sums over
        another axis.
    step : int
        The step that is read; for an axis, the sum.
    known : KnownArray or None
        What belongs in its place.
    axes : tuple of (tuple of int, tuple of int) or None
        The axes that are summed over, and those that should be.
    turn : int
        In which of its orientations (`known_arrays.oriented`) the known array belongs there.
    """

    kind: str
    step: int
    known: KnownArray | None
    axes: tuple[tuple[int, ...], tuple[int, ...]] | None = None
    turn: int = 0


class StatementVisit:
    """The steps of one visit of a statement, up to one of them.

    Parameters
    ----------
    at : Recognised
    number : int
        The step.
    place : StatementLines
        The statement.
    """

    def __init__(self, at: Recognised, number: int, place: StatementLines) -> None:
        self._at, self.number = at, number
        own, read = {number}, dict[int, None]()
        waiting = [number]
        while waiting:
            for source in at.steps[waiting.pop()].inputs:
                if source in own:
                    continue
                if source >= at.begin and at.places(source) == [place] and at.steps[source].name != "constant":
                    own.add(source)
                    waiting.append(source)
                else:
                    read[source] = None
        self.steps, self.read = sorted(own), [source for source in read if np.size(at.values[source]) > 1]

    def with_read(self, source: int, array: Reals) -> Reals | None:
        """Returns the result if one of the arrays that are read were another; None if it then is not defined."""
        return self._run({source: array})

    def may_read_wrong(self, wanted: Wanted) -> bool:
        """Whether an array that is read may be wrong, and not the statement.

        It may be if the result is right with some multiple of it, or with the multiple of another array that comes
        back: a line before, or one that only gives it another name, may have left something out. An array that is
        right as it is, or of which something right is made, may still lack a factor that others have in this function.
        """
        at = self._at
        made = [source for source in self.read if not at.is_given(source)]
        return any(
            self._lacks_a_factor(source, wanted) or (source not in at.rescued and self._is_another(source, wanted))
            for source in made
        )

    def _lacks_a_factor(self, source: int, wanted: Wanted) -> bool:
        at, value = self._at, self._at.value(source)
        found = at.matches(source)
        is_right = source in at.rescued or any(match.is_exact for match in found)
        if is_right and not any(match.known.kind in ("bar", "flow") for match in found):
            return False
        none, whole = (self.with_read(source, array) for array in (np.zeros_like(value), value))
        if none is None or whole is None or none.shape != wanted.array.shape or not np.any(whole - none):
            return False
        factor = factor_of(wanted.array - none, whole - none)
        return factor is not None and (at.is_usual(factor) if is_right else factor != 0.0)

    def _is_another(self, source: int, wanted: Wanted) -> bool:
        at = self._at
        own = at.value(source)
        found = [match for match in at.matches(source) if match.known.kind in ("bar", "flow")]
        usual = dict.fromkeys((*(match.factor for match in found), *at.factors))
        if not found or all(match.is_exact for match in found):
            return False
        for known in self._fitting(source, wanted.known):
            for array in oriented(known.array, own.shape):
                for factor in usual:
                    value = self.with_read(source, factor * array)
                    if value is not None and value.shape == wanted.array.shape and are_same(value, wanted.array):
                        return True
        return False

    def _run(self, found: dict[int, Reals]) -> Reals | None:
        at = self._at
        given = set(found)
        try:
            for step in self.steps:
                if step not in given and any(k in found for k in at.steps[step].inputs):
                    found[step] = at.replay.compute(step, [found.get(k, at.values[k]) for k in at.steps[step].inputs])
        except (ArithmeticError, ValueError, np.linalg.LinAlgError):
            return None
        return found.get(self.number)

    def mistake(self, wanted: Wanted) -> Local | None:
        """Returns the one thing that makes the result what it should be; None if there is none."""
        if len(self.steps) > _MOST_STEPS or len(self.read) > _MOST_READ:
            return None
        for local, value in self._changed(wanted.known):
            if value is not None and value.shape == wanted.array.shape and are_same(value, wanted.array):
                return None if self._may_be_a_factor(local) else local
        return None

    def _changed(self, wanted: KnownArray) -> Iterator[tuple[Local, Reals | None]]:
        at = self._at
        for step in self.steps:
            axes = at.steps[step].attributes.get("axis") if at.steps[step].name == "sum" else None
            if isinstance(axes, tuple):
                whole = at.value(at.steps[step].inputs[0])
                for other in combinations(range(whole.ndim), len(axes)):
                    total = whole.sum(axis=other)
                    if other != axes and total.size == np.size(at.values[step]):
                        value = self._run({step: total.reshape(np.shape(at.values[step]))})
                        yield Local("axis", step, None, (axes, other)), value
        for source in self.read:
            own = at.value(source)
            for known in self._fitting(source, wanted):
                for turn, array in enumerate(oriented(known.array, own.shape)):
                    if not are_same(array, own):
                        is_own = turn > 0 and any(match.known is known for match in at.matches(source))
                        kind = "transposed" if is_own else "operand"
                        yield Local(kind, source, known, None, turn), self.with_read(source, array)

    def _may_be_a_factor(self, local: Local) -> bool:
        """Whether what belongs there is a product, or the like, of what is read: a factor may be missing elsewhere."""
        at = self._at
        if local.known is None or local.known.kind != "value":
            return False
        own = at.backward.steps[local.known.step]
        read = {local.step, *(match.known.step for match in at.matches(local.step) if match.known.kind == "value")}
        return own.name in _ARITHMETIC and not read.isdisjoint(own.inputs)

    def _fitting(self, source: int, wanted: KnownArray) -> list[KnownArray]:
        """Returns what may belong where a step is read: values where it is a value, and else what comes back."""
        at = self._at
        matches = [match for match in at.matches(source) if match.is_exact] if source >= at.begin else []
        is_value = source < at.begin or any(match.known.kind == "value" for match in matches)
        kinds = ("value", "slope") if is_value else ("bar", "flow", "slope")
        if source < at.begin:
            near, place = source, None
        elif matches:
            near, place = matches[0].known.step, matches[0].known.place
        else:
            near, place = wanted.step, wanted.place
        found = [
            known for known in at.known.of_size(np.size(at.values[source]))
            if known.kind in kinds and (known.kind != "slope" or np.ptp(known.array) > 0.0)
        ]  # fmt: skip

        def distance(known: KnownArray) -> tuple[bool, bool, int]:
            is_value = known.kind == "value"
            far = abs(known.step - near) if is_value else min(abs(known.step - k) for k in (near, wanted.step))
            return known.place not in (place, wanted.place), known.kind == "slope", far

        found.sort(key=distance)
        return found[:_MOST_TRIED]
