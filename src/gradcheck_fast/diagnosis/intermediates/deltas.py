"""Compares the user's own deltas with the sensitivities of a program, to find the first that is wrong on the way back.

A delta is first looked up by its numbers. If they are those of a sensitivity, its name is not needed. If they are not,
the variable that the delta is named after tells which one it should have been. A delta is said to be wrong only if the
gradient is wrong, too, in a parameter that lies below it: nothing else would tell a mistake from another meaning.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.diagnosis.graph.recognise import count_distinct
from gradcheck_fast.diagnosis.intermediates.matching import (
    FLOW,
    SENSITIVITY,
    Entry,
    KnownSensitivities,
    Match,
    first_off,
    matches,
    tolerance_of,
)
from gradcheck_fast.diagnosis.intermediates.names import stems
from gradcheck_fast.diagnosis.intermediates.results import (
    Gradient,
    IntermediateResult,
    in_words,
    path_of,
    relative_error,
)
from gradcheck_fast.diagnosis.lookup import SAME, arrangements
from gradcheck_fast.frontends.numpy_trace.variables import words_of
from gradcheck_fast.inputs.users_files import line_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.diagnosis.graph.backward import Backward
    from gradcheck_fast.frontends.numpy_trace.variables import Variable

    Reals = NDArray[np.float64]

#: The sensitivity that is nearest to a delta without a name is that which it should be if the cosine is no less.
_NEAR = 0.5
#: A delta is meant to be a sensitivity that it has this share of the numbers of, one by one, if that many differ.
_PARTLY, _ENOUGH = 0.05, 8
#: What is said of a delta that has the numbers of something else than its name says.
_PART = "what comes back from"
_IS_PART, _IS_OTHER = f"it is only {_PART}", "it has the numbers of the sensitivity of"
#: Only numbers above this part of the largest count for that.
_COUNTED = 1e-3


@dataclass(frozen=True, eq=False)
class Deltas:
    """Compares deltas with the sensitivities of one program.

    Attributes
    ----------
    backward : Backward
    variables : mapping of int to tuple of Variable
        What the steps are assigned to.
    gradients : sequence of Gradient
        What the check has found, in the order of the parameters.
    """

    backward: Backward
    variables: Mapping[int, tuple[Variable, ...]]
    gradients: Sequence[Gradient]

    def compare(self, given: Mapping[str, NDArray[np.floating[Any]]]) -> tuple[IntermediateResult, ...]:
        """Compares deltas, in their order."""
        with np.errstate(all="ignore"):
            found = {name: self._compared(name, array) for name, array in given.items()}
            return self._with_conventions(found)

    # ---- one delta

    def _compared(self, name: str, array: NDArray[np.floating[Any]]) -> IntermediateResult:
        a, named = np.asarray(array, np.float64), self._named(name)
        targets = self._targets(a, named)
        bad = int(a.size - np.count_nonzero(np.isfinite(a)))
        if bad:
            how = f"{bad:,} of its {a.size:,} entries are NaN or infinite"
            entry = targets[0] if targets else None
            return self._result(name, entry, "wrong", how, np.nan, named=named)
        found = matches(array, self._known, (SENSITIVITY, FLOW))
        consistent = [match for match in found if named and self._belongs(match.entry, named)]
        certain = [match for match in found if match.certain]
        best = consistent[0] if consistent else self._outermost(certain) if certain else None
        if best is not None and consistent and best.entry.kind == SENSITIVITY:
            return self._right(name, best, named)
        if best is None:
            best = self._by_parts(array)
        if best is None and not targets:
            targets = self._partly(a, tolerance_of(array.dtype))
        if targets and (best is None or self._is_too_high(best.entry, targets)):
            return self._wrong(name, a, targets, array.dtype, best, named)
        if best is not None:
            return self._right(name, best, {})
        if not a.any():
            return self._result(name, None, "unknown", "it is zero everywhere", np.nan)
        near = None if named else self._nearest(a)
        if near is not None:
            error = relative_error(a, near.array.reshape(a.shape))
            return self._result(name, near, "unknown", "it fits no sensitivity; this is the nearest", error)
        return self._result(name, None, "unknown", self._reason(a, named), np.nan)

    def _right(self, name: str, match: Match, named: Mapping[int, Variable]) -> IntermediateResult:
        entry, words = match.entry, []
        if entry.kind == FLOW:
            words.append(f"{_PART} {self._readers(entry)}")
        words += [match.how, entry.part, in_words(match.factor, self._lengths(entry))]
        how = ", ".join(filter(None, words))
        return self._result(name, entry, "right", how, match.misfit, factor=match.factor, named=named)

    def _wrong(
        self, name: str, a: Reals, targets: Sequence[Entry], dtype: np.dtype[Any], other: Match | None,
        named: Mapping[int, Variable],
    ) -> IntermediateResult:  # fmt: skip
        """Says how far a delta is from what it should be, unless that is not certain."""
        error, entry, fitting = min(
            ((relative_error(a, b), entry, b) for entry in targets for b, _ in arrangements(a.shape, entry.array)),
            key=lambda found: found[0],
        )
        if error <= tolerance_of(dtype):
            return self._result(name, entry, "right", "", error, named=named)
        visits = [entry for entry in targets if len(entry.steps) == 1]
        sources = {self._source(entry.steps[0]) for entry in visits}
        if len(entry.steps) == 1 and len(visits) > 1 and len(sources) < len(visits):
            how = f"its line runs {len(visits)} times; give all of them, as one array with the times along an axis"
            return self._result(name, None, "unknown", how, np.nan)
        if not self._is_wrong_below(entry.steps):
            how = "it fits no sensitivity, but the gradient of what lies below is right"
            return self._result(name, entry, "unknown", how, error, named=named)
        words = "" if other is None else self._mistaken(other)
        if other is None and fitting.size > 1:
            alike = np.count_nonzero(np.abs(a - fitting) <= tolerance_of(dtype) * float(np.abs(a).max(initial=0.0)))
            words = f"{fitting.size - alike:,} of {fitting.size:,} entries differ"
        step, times = first_off(a, entry, fitting, tolerance_of(dtype))
        how = ", ".join(filter(None, (words, times)))
        return self._result(name, entry, "wrong", how, error, named=named)._replace(step=step)

    def _mistaken(self, match: Match) -> str:
        if match.entry.kind == FLOW:
            return f"{_IS_PART} {self._readers(match.entry)}"
        source = self._assigned(match.entry.steps[-1])
        where = f"line {source.line}, `{line_of(source.file, source.line)}`" if source.line else source.name
        factor = in_words(match.factor)
        return f"{_IS_OTHER} {where}{f', {factor}' * bool(factor)}"

    # ---- all of them

    def _with_conventions(self, found: Mapping[str, IntermediateResult]) -> tuple[IntermediateResult, ...]:
        """Tells factors that are the user's convention from those that are mistakes: these go into the gradient."""
        changed = {name: self._unless_part(result, found.values()) for name, result in found.items()}
        above = list[IntermediateResult]()
        for result in sorted(found.values(), key=lambda result: -result.step):
            if result.status != "right":
                continue
            if result.factor == 1.0 or not self._goes_into_gradient(result, above):
                above.append(result)
                continue
            error = abs(result.factor - 1.0) / abs(result.factor + 1.0) if result.factor != -1.0 else np.inf
            changed[result.name] = result._replace(status="wrong", relative_error=error)
        return tuple(changed.values())

    def _unless_part(self, result: IntermediateResult, others: Iterable[IntermediateResult]) -> IntermediateResult:
        """Takes what is a part of a sensitivity, or one above, for right if another delta is the whole of it."""
        if result.status != "wrong" or not result.how.startswith((_IS_PART, _IS_OTHER)):
            return result
        place = (result.line, result.variable)
        whole = (r for r in others if r.status == "right" and r[1:3] == place and not r.how.startswith(_PART))
        return result._replace(status="right") if any(whole) else result

    def _goes_into_gradient(self, result: IntermediateResult, above: Sequence[IntermediateResult]) -> bool:
        """Whether a factor makes the gradient below wrong, as far as the deltas above do not have it."""
        below = [self.gradients[k] for k in self._below([result.step])]
        below = [gradient for gradient in below if gradient.status in ("right", "wrong") and gradient.analytic.any()]
        if not below or any(other.factor == result.factor for other in above):
            return False
        if any(gradient.status != "wrong" for gradient in below):
            return result.factor not in self._known.both_factors and any(g.status == "wrong" for g in below)
        if any(gradient.has_factor(result.factor) for gradient in below):
            return True
        return any(other.factor == 1.0 and result.step in self._reached([other.step]) for other in above)

    # ---- which sensitivity a delta belongs to

    @cached_property
    def _known(self) -> KnownSensitivities:
        return KnownSensitivities.of(self.backward, values=False)

    @cached_property
    def _by_word(self) -> dict[str, dict[int, Variable]]:
        found: dict[str, dict[int, Variable]] = {}
        for number, variables in self.variables.items():
            for variable in variables:
                for word in words_of(variable.name):
                    found.setdefault(word, {})[number] = variable
                    found.setdefault(word.lower(), {}).setdefault(number, variable)
        return found

    def _named(self, name: str) -> dict[int, Variable]:
        """Returns the steps that are assigned to the variable which a delta is named after."""
        for stem in stems(name):
            for word in (stem, stem.lower()):
                found = {k: variable for k, variable in self._by_word.get(word, {}).items() if k in self.backward.bars}
                if found:
                    return self._with_reordered(found)
        return {}

    def _with_reordered(self, named: dict[int, Variable]) -> dict[int, Variable]:
        """Adds the steps that only have the numbers of others in another order, or are read in no other way."""
        found, left = dict(named), list(named)
        while left:
            number = left.pop()
            readers = self.backward.readers.get(number, [])
            single = len(readers) == 1
            beside = [k for k, _ in readers if self._is_reordered(k) and (single or k not in self.variables)]
            if self._is_reordered(number):
                ((_, source),) = self.backward.inner(number)
                beside += [source] * (len(self.backward.readers[source]) == 1)
            for other in beside:
                if other not in found:
                    found[other] = found[number]
                    left.append(other)
        return found

    def _is_reordered(self, number: int) -> bool:
        step, inner = self.backward.steps[number], self.backward.inner(number)
        is_movement = step.name in ("strided", "gather") and len(inner) == 1
        return is_movement and np.size(self.backward.values[inner[0][1]]) == np.size(self.backward.values[number])

    def _targets(self, a: Reals, named: Mapping[int, Variable]) -> list[Entry]:
        """Returns the sensitivities of the variable that a delta is named after, if they have its shape."""
        whole = [e for e in self._known.entries if e.kind == SENSITIVITY and not e.part and e.array.size == a.size]
        found = [entry for entry in whole if all(step in named for step in entry.steps)]
        wanted = sorted(n for n in a.shape if n > 1)
        return [entry for entry in found if sorted(n for n in entry.array.shape if n > 1) == wanted] or found

    def _belongs(self, entry: Entry, named: Mapping[int, Variable]) -> bool:
        """Whether what a delta has the numbers of is in the statement that its name says."""
        lines = {(variable.source.file, variable.source.line) for variable in named.values()}
        own = self._source(entry.steps[-1])
        return any(step in named for step in entry.steps) or bool(own.line and (own.file, own.line) in lines)

    def _is_too_high(self, entry: Entry, targets: Sequence[Entry]) -> bool:
        """Whether a delta is that of something nearer to the loss than what its name says, and the gradient is wrong.

        So it is if what should happen in between is forgotten.
        """
        if not any(self._is_wrong_below(target.steps) for target in targets):
            return False
        for target in targets:
            reached = self._reached(entry.steps)
            if any(step in reached for step in target.steps if step not in entry.steps):
                return True
        return False

    def _by_parts(self, array: NDArray[np.floating[Any]]) -> Match | None:
        """Returns the sensitivities that the parts of a delta along an axis have the numbers of, if they are alike.

        So it is with a buffer over time whose steps do not all come from the same line. Parts of zeros are left out.
        """
        for axis in range(min(2, array.ndim - 1)):
            parts = [part for part in np.moveaxis(array, axis, 0) if part.any()]
            alike: dict[object, list[Match]] | None = None
            for part in parts if len(parts) > 1 else ():
                own: dict[object, list[Match]] = {}
                for match in matches(np.ascontiguousarray(part), self._known, (SENSITIVITY,)):
                    if match.certain and not match.entry.part and len(match.entry.steps) == 1:
                        step = self.backward.steps[match.entry.steps[0]]
                        key = (step.name, step.source[:3], match.how, float(f"{match.factor:.6g}"))
                        own.setdefault(key, [match])
                alike = own if alike is None else {k: alike[k] + own[k] for k in alike if k in own}
                if not alike:
                    break
            for found in (alike or {}).values():
                steps = tuple(match.entry.steps[0] for match in found)
                if len(set(steps)) == len(steps):
                    entry = Entry(SENSITIVITY, tuple(sorted(steps)), np.asarray(array, np.float64))
                    return found[0]._replace(entry=entry, misfit=max(match.misfit for match in found))
        return None

    def _outermost(self, found: Sequence[Match]) -> Match:
        """Returns the first match, or another as simple whose line is in a function that calls that of the first."""
        first = found[0]
        same = [
            match
            for match in found
            if np.isclose(match.factor, first.factor, rtol=SAME, atol=0.0)
            and (match.how, match.entry.kind, match.entry.part) == (first.how, first.entry.kind, first.entry.part)
        ]
        return min(same, key=lambda match: len(path_of(self._source(match.entry.steps[-1]))))

    def _partly(self, a: Reals, tolerance: float) -> list[Entry]:
        """Returns the sensitivity that a delta has many numbers of, one by one, where the others differ."""
        largest = float(np.abs(a).max(initial=0.0))
        counted, best, most = np.abs(a) > _COUNTED * largest, list[Entry](), 0.0
        for entry in self._known.entries:
            if entry.kind != SENSITIVITY or entry.part or entry.array.size != a.size:
                continue
            if [n for n in entry.array.shape if n > 1] != [n for n in a.shape if n > 1]:
                continue
            alike = (np.abs(a - entry.array.reshape(a.shape)) <= tolerance * largest) & counted
            share = float(np.count_nonzero(alike)) / max(int(np.count_nonzero(counted)), 1)
            if share > max(most, _PARTLY) and count_distinct(np.round(a[alike] / (_COUNTED * largest))) >= _ENOUGH:
                best, most = [entry], share
        return best

    def _nearest(self, a: Reals) -> Entry | None:
        best, cosine = None, _NEAR
        for entry in self._known.entries:
            if entry.kind != SENSITIVITY or entry.part or entry.array.size != a.size or a.size < 2:
                continue
            if entry.steps[0] in self.backward.parameters:
                continue
            if [n for n in entry.array.shape if n > 1] != [n for n in a.shape if n > 1]:
                continue
            b = entry.array.reshape(a.shape)
            size = float(np.linalg.norm(a) * np.linalg.norm(b))
            if size > 0.0 and float(np.vdot(a, b)) > cosine * size:
                best, cosine = entry, float(np.vdot(a, b)) / size
        return best

    def _reason(self, a: Reals, named: Mapping[int, Variable]) -> str:
        """Says why a delta could not be compared with anything."""
        shapes = dict.fromkeys(np.shape(self.backward.values[step]) for step in named)
        if shapes and a.shape not in shapes:
            variable = next(iter(named.values()))
            where = f"{variable.name}, line {variable.source.line}," if variable.source.line else variable.name
            return f"it has shape {a.shape}, but {where} has {' or '.join(map(str, list(shapes)[:3]))}"
        if all(entry.array.size != a.size for entry in self._known.entries):
            return f"no intermediate of the loss has shape {a.shape}"
        return "it fits no sensitivity, and its name is that of no variable of the loss"

    # ---- the program

    def _reached(self, steps: Iterable[int]) -> set[int]:
        """Returns the steps that some steps depend on, and these themselves."""
        reached, left = set[int](), list(steps)
        while left:
            number = left.pop()
            if number not in reached:
                reached.add(number)
                left += [source for _, source in self.backward.inner(number)]
        return reached

    def _below(self, steps: Iterable[int]) -> list[int]:
        reached = self._reached(steps)
        return [k for k, number in enumerate(self.backward.parameters) if number in reached]

    def _is_wrong_below(self, steps: Iterable[int]) -> bool:
        return any(self.gradients[k].status == "wrong" for k in self._below(steps))

    def _source(self, step: int) -> Any:
        return self.backward.steps[step].source

    def _assigned(self, step: int) -> Any:
        """Where the value of a step is assigned to a variable, or the step's own line."""
        variables = self.variables.get(step, ())
        return variables[-1].source if variables else self._source(step)

    def _readers(self, entry: Entry) -> str:
        """Says where something goes back from: the lines where the value is read, in the function that computes it."""
        depth = len(path_of(self._source(entry.into)))
        lines = [path_of(self._source(step))[:depth][-1] for step in entry.steps]
        names = dict.fromkeys(f"line {source.line}" if source.line else source.name for source in lines)
        return " and ".join(names)

    def _lengths(self, entry: Entry) -> dict[float, str]:
        shape = np.shape(self.backward.values[entry.steps[0]])
        is_parameter = entry.steps[0] in self.backward.parameters
        return {} if is_parameter or not shape else {float(shape[0]): f"N = {shape[0]}"}

    def _result(
        self, name: str, entry: Entry | None, status: str, how: str, error: float, *, factor: float = 1.0,
        named: Mapping[int, Variable] | None = None,
    ) -> IntermediateResult:  # fmt: skip
        if entry is None:
            return IntermediateResult(name, 0, "", factor, how, error, status)
        step = entry.into if entry.kind == FLOW else entry.steps[-1]
        variable = (named or {}).get(step) or next(reversed(self.variables.get(step, ())), None)
        source = variable.source if variable else self._source(step)
        text = line_of(source.file, source.line) if source.line else source.name
        said = variable.name if variable else ""
        return IntermediateResult(name, source.line, said, factor, how, error, status, source.file, text, step)
