"""What the steps of a recorded gradient function are recognised as, and which of them go into wrong arrays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from gradcheck_fast.diagnosis.backward_pass.known_arrays import KnownArrays, Match
from gradcheck_fast.diagnosis.backward_pass.replay import Replay
from gradcheck_fast.diagnosis.lookup import SAME, are_same
from gradcheck_fast.frontends.numpy_trace.statements import StatementLines, Statements

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.diagnosis.graph.backward import Backward
    from gradcheck_fast.frontends.numpy_trace.traced_gradient import RecordedGradient
    from gradcheck_fast.program.program import Source

    Reals: TypeAlias = NDArray[np.float64]

#: A factor that sensitivities have in a function is one that those of so many instructions have.
_LEAST = 3
#: Or a whole number up to this, or one over such a number: the number of samples, for example.
_MOST_WHOLE = 1e5
#: Single numbers are recognised if no more than so many are known: among more of them, some are equal by chance.
_MOST_NUMBERS = 40
#: What is smaller than this part of the largest entry of a gradient is rounding.
_ROUNDING = 1e-13
#: There are no more of them than this.
_MOST_FACTORS = 3


class Recognised:
    """A recorded gradient function, beside the right way back.

    Parameters
    ----------
    recorded : RecordedGradient
    backward : Backward
    wrong : sequence of str
        The arrays of the gradient that are wrong.
    names : sequence of str
        The names of all arrays of the parameters, in order.

    Attributes
    ----------
    wrong : list of str
        Those of the wrong arrays that the function computes step by step.
    is_right : dict of str to bool
        Of each array that it computes so.
    """

    def __init__(
        self, recorded: RecordedGradient, backward: Backward, wrong: Sequence[str], names: Sequence[str]
    ) -> None:
        self.recorded, self.backward = recorded, backward
        self.steps, self.values, self.begin = recorded.steps, recorded.values, recorded.begin
        self.outputs = recorded.outputs
        self.replay, self.known = Replay(recorded), KnownArrays(backward, _sizes_read(recorded))
        self.parameter = dict(zip(names, backward.parameters, strict=True))
        self._matches: dict[int, list[Match]] = {}
        self._bars: dict[int, Match | None] = {}
        self._places: dict[int, list[StatementLines]] = {}
        self._statements = Statements()
        self.is_right = {name: self.agrees(name, out.of(self.values[out.step])) for name, out in self.outputs.items()}
        self.wrong = [name for name in wrong if name in self.outputs and not self.is_right[name]]

    def agrees(self, name: str, own: Reals) -> bool:
        """Whether this is the right gradient of an array."""
        number = self.parameter[name]
        right = self.backward.bars.get(number)
        right = np.zeros(self.backward.steps[number].shape) if right is None else right
        off = np.abs(np.ravel(own) - np.ravel(right)).max(initial=0.0)
        return are_same(np.ravel(own), np.ravel(right)) or bool(off <= _ROUNDING * self._largest)

    @cached_property
    def _largest(self) -> float:
        """The largest entry of the right gradient: beside it, a gradient that is zero consists of roundings."""
        bars = (self.backward.bars[number] for number in self.parameter.values() if number in self.backward.bars)
        return max((float(np.abs(bar).max(initial=0.0)) for bar in bars), default=0.0)

    # ---- what a step is

    def value(self, number: int) -> Reals:
        """Returns the value of a step, as numbers."""
        return np.asarray(self.values[number], np.float64)

    def matches(self, number: int) -> list[Match]:
        """Returns what the value of a step is recognised as."""
        if number not in self._matches:
            is_plain = np.size(self.values[number]) > 1 or self.has_few_numbers
            self._matches[number] = self.known.find(self.value(number)) if is_plain else []
        return self._matches[number]

    @property
    def has_few_numbers(self) -> bool:
        """Whether so few single numbers are known that none of them is the same as another by chance."""
        return len(self.known.of_size(1)) <= _MOST_NUMBERS

    def is_given(self, number: int) -> bool:
        """Whether a step is one of the loss, or a constant."""
        return number < self.begin or self.steps[number].name == "constant"

    def is_exact(self, number: int) -> bool:
        """Whether a step is all of a right array."""
        found = self.matches(number) if not self.is_given(number) else []
        return self.is_given(number) or any(match.is_exact and match.known.kind != "flow" for match in found)

    def bar(self, number: int) -> Match | None:
        """Returns the sensitivity that a step is, up to one of the factors of this function; None if it is none."""
        if number not in self._bars:
            found = () if self.is_given(number) else self.matches(number)
            bars = (match for match in found if match.known.kind == "bar" and self.is_usual(match.factor))
            self._bars[number] = next(bars, None)
        return self._bars[number]

    def is_probability(self, number: int) -> bool:
        """Whether a step gives probabilities: a sigmoid of a value of the loss, or numbers of sum 1 along an axis."""
        value = self.value(number)
        if not (value.size > 1 and value.min() > 0.0 and value.max() < 1.0):
            return False
        sums = (value.sum(axis=axis) for axis, length in enumerate(value.shape) if length > 1)
        if any(are_same(total, np.ones_like(total)) for total in sums):
            return True
        found = self.known.find(np.log(value) - np.log1p(-value))
        return any(match.known.kind == "value" and abs(abs(match.factor) - 1.0) <= SAME for match in found)

    def flows(self, number: int) -> list[Match]:
        """Returns the flows that a step is, exactly."""
        return [match for match in self.matches(number) if match.is_exact and match.known.kind == "flow"]

    @cached_property
    def factors(self) -> list[float]:
        """The factors that sensitivities have in this function, 1 first."""
        found: Counter[float] = Counter()
        seen = set[tuple[float, object]]()
        for number in self.relevant:
            best = next((match for match in self.matches(number) if match.known.kind == "bar"), None)
            if best is not None and not best.is_exact and np.size(self.values[number]) > 1:
                factor = float(f"{best.factor:.9g}")
                if (factor, self.instruction[number]) not in seen:
                    seen.add((factor, self.instruction[number]))
                    found[factor] += 1
        usual = (factor for factor, count in found.most_common() if count >= _LEAST or _is_natural(factor))
        return [1.0, *list(usual)[:_MOST_FACTORS]]

    def is_usual(self, factor: float) -> bool:
        """Whether sensitivities have this factor in the function."""
        return any(abs(factor - usual) <= SAME * abs(usual) * 2.0 for usual in self.factors)

    def is_explained(self, factor: float) -> bool:
        """Whether a factor is a whole number or the root of one, or a number in the loss, or one over such a number."""
        if _is_natural(factor) or _is_natural(factor * factor):
            return True
        steps, values = self.backward.steps, self.backward.values
        scalars = [
            float(np.reshape(value, ()))
            for step, value in zip(steps, values, strict=True)
            if step.name == "constant" and value is not None and np.size(value) == 1
        ]
        numbers = {abs(c) for c in scalars if c} | {abs(1.0 - c) for c in scalars if c != 1.0}
        size = abs(factor)
        return any(abs(size / c - 1.0) <= 10.0 * SAME or abs(size * c - 1.0) <= 10.0 * SAME for c in numbers)

    # ---- which steps matter

    @cached_property
    def relevant(self) -> set[int]:
        """The steps that go into any array of the gradient."""
        return self._ancestors(out.step for out in self.outputs.values())

    def _ancestors(self, numbers: Iterable[int], stop_at_exact: bool = False) -> set[int]:
        waiting = [number for number in dict.fromkeys(numbers) if number >= self.begin]
        found = set(waiting)
        while waiting:
            for source in self.steps[waiting.pop()].inputs:
                if source >= self.begin and source not in found and not (stop_at_exact and self.is_exact(source)):
                    found.add(source)
                    waiting.append(source)
        return found

    @cached_property
    def region(self) -> set[int]:
        """The steps that go into wrong arrays, without those that are recognised and what goes into them alone."""
        return self._ancestors((self.outputs[name].step for name in self.wrong), stop_at_exact=True)

    def readers(self, number: int) -> list[int]:
        """Returns the steps that read a step and go into the gradient."""
        return self._relevant_readers.get(number, [])

    @cached_property
    def _relevant_readers(self) -> dict[int, list[int]]:
        relevant = self.relevant
        found = ((number, [k for k in readers if k in relevant]) for number, readers in self.replay.readers.items())
        return {number: readers for number, readers in found if readers}

    @cached_property
    def rescued(self) -> set[int]:
        """The steps of which something right is made, so that they are right themselves."""
        found: set[int] = set()
        right = {
            out.step
            for name, out in self.outputs.items()
            if self.is_right[name] and np.abs(out.of(self.values[out.step])).max(initial=0.0) > SAME * self._largest
        }  # a gradient that is zero is so for many reasons
        for number in sorted(self.relevant, reverse=True):
            if number in right or any(
                reader in found or (self._is_right(reader) and self._is_made_of(reader, number))
                for reader in self.readers(number)
            ):
                found.add(number)
        return found

    def _is_right(self, number: int) -> bool:
        """Whether a step is a right array; what goes back along some edges is one, even if others are to be added."""
        return (number not in self.region and self.is_exact(number)) or bool(self.flows(number))

    def _is_made_of(self, reader: int, number: int) -> bool:
        """Whether a recognised step is something else than one that it reads, and not the same, or a multiple of it."""
        own = {id(match.known) for match in self.matches(number)}
        value = np.abs(self.values[reader])
        return bool(np.ptp(value) > SAME * value.max(initial=0.0)) and not any(
            id(match.known) in own for match in self.matches(reader) if match.is_exact
        )

    @cached_property
    def misused(self) -> set[int]:
        """The sensitivities of which nothing right is made, but that are read."""
        read = {k for number in self.region for k in self.steps[number].inputs} | self.region
        return {
            number
            for number in read
            if number not in self.rescued and self.readers(number) and self.bar(number) is not None
        }

    @cached_property
    def occurrences(self) -> dict[object, list[int]]:
        """By instruction: the steps that it has made, each time that it ran."""
        found: dict[object, list[int]] = {}
        for number in range(self.begin, len(self.steps)):
            found.setdefault(self.instruction[number], []).append(number)
        return found

    @cached_property
    def instruction(self) -> dict[int, object]:
        """What made each step: the same for all passes of a loop."""
        found: dict[int, object] = {}
        seen, last = dict[str, int](), None
        for number in range(self.begin, len(self.steps)):
            step = self.steps[number]
            seen = seen if step.source == last else {}
            last = step.source
            seen[step.name] = seen.get(step.name, -1) + 1
            found[number] = (step.source, step.name, seen[step.name])
        return found

    def below(self, numbers: Iterable[int]) -> set[int]:
        """Returns some steps and all that depend on them."""
        waiting = list(numbers)
        found = set(waiting)
        while waiting:
            for reader in self.replay.readers.get(waiting.pop(), ()):
                if reader not in found:
                    found.add(reader)
                    waiting.append(reader)
        return found

    def wrong_below(self, numbers: Iterable[int]) -> set[str]:
        """Returns the wrong arrays that depend on some steps."""
        found = self.below(numbers)
        return {name for name in self.wrong if self.outputs[name].step in found}

    # ---- where a step is

    def places(self, number: int) -> list[StatementLines]:
        """Returns the statements that have made a step: several, where one has made the view that another reads."""
        if number not in self._places:
            sources = self.recorded.view_lines.get(number, (self.steps[number].source,))
            found = dict.fromkeys(self._statements.of(self._outside(source)) for source in sources if source.line)
            self._places[number] = list(found)
        return self._places[number]

    def _outside(self, source: Source) -> Source:
        """Returns a line; for one that has made steps of the loss, too, that from which it was called."""
        while (source.file, source.line) in self._of_loss and source.caller is not None:
            source = source.caller
        return source

    @cached_property
    def _of_loss(self) -> set[tuple[str, int]]:
        needed = [self.backward.steps[number].source for number in self.backward.bars]
        return {(source.file, source.line) for source in needed if source.line}

    def is_repeated(self, number: int) -> bool:
        """Whether a step is made by a line that has made steps of the loss, as where the forward pass is run again."""
        source = self.steps[number].source
        return (source.file, source.line) in self._of_loss


def _sizes_read(recorded: RecordedGradient) -> set[int]:
    """Returns how many entries the arrays have that the gradient function makes or reads."""
    made = recorded.steps[recorded.begin :]
    return {prod(step.shape) for step in made} | {prod(recorded.steps[k].shape) for step in made for k in step.inputs}


def _is_natural(factor: float) -> bool:
    """Whether a factor is a whole number, or one over such a number."""
    size = max(abs(factor), 1.0 / abs(factor))
    return abs(size - round(size)) <= SAME * 10.0 * size and size <= _MOST_WHOLE
