"""Plans where the units of a program are: which sums the cost consists of, and which parts these have.

What the last sums of the cost add up are its branches: the loss, and perhaps penalties. Each has units of its own,
because the parts of a loss belong to samples, and those of a penalty to entries of the weights.
"""

from __future__ import annotations

import math
from copy import copy
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from gradcheck_fast.engine.rules import RulesEngine
from gradcheck_fast.engine.units_cut import Cut, cut
from gradcheck_fast.engine.units_samples import KNOWN, parts_reached
from gradcheck_fast.program.twin import on_parameters

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.program.program import Program

    Reals = NDArray[np.float64]
    Index = NDArray[np.intp]

#: Cost steps, each with what its entries are multiplied by.
Costs: TypeAlias = "dict[int, Reals]"
#: The steps that may hand one number on.
HANDED_ON = ("reshape", "slice", "strided", "gather")


class Branch(NamedTuple):
    """A summand of the cost whose units are perturbed by themselves, such as the loss, or a penalty.

    Attributes
    ----------
    engine : RulesEngine
        Of the program whose costs are what the last sums add up.
    weights : dict of int to ndarray
        What each of these costs is multiplied by, entry by entry.
    parts : int
        How many parts each of them has, in C order.
    cut : Cut
        Where the units are.
    """

    engine: RulesEngine
    weights: dict[int, Reals]
    parts: int
    cut: Cut


class UnitsPlan:
    """Where the units of a program are, whatever its parameters.

    Parameters
    ----------
    engine : RulesEngine
    samples : int
        The number of samples, in whose order the last sums add up.

    Attributes
    ----------
    branches : list of Branch
    alone : ndarray of int
        The entries of the parameters that a step reads which is not linear in them; they are moved one by one.
    mixed : list of int
        The steps that are not linear in what they read of these parameters, and of which an entry reaches several
        parts of the cost.
    mixing : list of (int, int)
        The steps that let what depends on `mixed` reach several parts, each with the number of what it reads.
    whole : list of int
        The costs whose entries do not belong to samples, as far as is known.
    unknown : list of int
        The steps of which it is not known what an entry of an input reaches.
    """

    def __init__(self, engine: RulesEngine, samples: int) -> None:
        self.engine, program = engine, engine.program
        self.mixed, self.mixing, self.whole = list[int](), list[tuple[int, int]](), list[int]()
        depends = on_parameters(program)
        self.unknown = [k for k in engine.computed if k in depends and program.steps[k].name not in KNOWN]
        found = [self._apart(costs, samples) for costs in _groups(program, _summands(engine))]
        alone = set[int]()
        while True:
            cuts = [cut(own, apart, alone) for _, own, _, apart in found]
            more = alone.union(*(each.alone for each in cuts))
            if more == alone:
                break
            alone = more
        self.branches = [
            Branch(RulesEngine(own, engine.inputs, engine.targets), costs, count, where)
            for (costs, own, count, _), where in zip(found, cuts, strict=True)
            if where.units
        ]
        places = program.arrays(np.arange(program.size))
        self.alone: Index = np.sort(np.concatenate([np.zeros(0, np.intp), *(places[k].ravel() for k in alone)]))

    def _apart(self, costs: Costs, samples: int) -> tuple[Costs, Program, int, dict[int, Index]]:
        """Tells the parts of some costs apart: each entry by itself, or, where these are mixed, sample by sample."""
        everything = self.engine.program
        length = _length(everything, costs)
        by_samples = [
            (some, samples)
            for some in (costs, _before_choice(self.engine, costs))
            if some and _length(everything, some) % samples == 0
        ]
        # a single number is none of many samples, if there is another way to see it
        trials = by_samples if length == 1 and by_samples else [(costs, length), *by_samples]
        for some, count in trials:
            program = _with_costs(everything, list(some))
            apart, spread = parts_reached(program, count)
            found = cut(program, apart, set())
            if not found.alone:
                break
        else:
            if by_samples:  # in the last of these trials no targets are missing
                after = set(found.mixed)
                for number in program.needed:
                    if number not in apart and not after.isdisjoint(program.steps[number].inputs):
                        after.add(number)
                self.mixed += found.mixed
                self.mixing += [pair for pair in reversed(spread) if pair[1] in after]
            elif found.mixed:
                self.whole += costs
        if length == 1 < samples and not by_samples:
            self.whole += costs
        return some, program, count, apart


def _length(program: Program, costs: Costs) -> int:
    """Returns in how many parts of one length all of some costs can be divided."""
    return math.gcd(*(math.prod(program.steps[number].shape) for number in costs))


def _with_costs(program: Program, costs: list[int]) -> Program:
    """Returns the program with other cost steps."""
    found = copy(program)
    found.costs = costs
    return found


def _summands(engine: RulesEngine) -> Costs:
    """Returns what the last sums of the cost add up, each with what it is then multiplied by.

    What is behind these sums has one entry, and is linear in them: sums, and products with fixed numbers.
    """
    steps, depends = engine.program.steps, on_parameters(engine.program)
    found: dict[int, float] = {}
    waiting = [(number, 1.0) for number in engine.program.costs if number in depends]
    while waiting:
        number, weight = waiting.pop()
        step = steps[number]
        moved = [k for k, source in enumerate(step.inputs) if source in depends]
        is_one = max(math.prod(steps[k].shape) for k in (number, *step.inputs)) == 1
        weights: dict[int, float] = {}
        if step.name == "sum" and math.prod(step.shape) == 1:
            number = step.inputs[0]
        elif is_one and (step.name == "add" or step.name in HANDED_ON):
            weights = dict.fromkeys(moved, weight)
        elif is_one and step.name == "subtract":
            weights = {k: -weight if k else weight for k in moved}
        elif is_one and step.name == "multiply" and len(moved) == 1:
            weights = {k: weight * engine.fixed[step.inputs[1 - k]].item() for k in moved}
        elif is_one and step.name == "divide" and moved == [0]:
            weights = {0: weight / engine.fixed[step.inputs[1]].item()}
        if weights:
            waiting += [(step.inputs[k], own) for k, own in weights.items()]
        else:
            found[number] = found.get(number, 0.0) + weight
    return {number: np.full(steps[number].shape, weight) for number, weight in found.items()}


def _before_choice(engine: RulesEngine, costs: Costs) -> Costs:
    """Returns the costs as they were before some of their entries were chosen and weighted, if they were.

    Without targets that are ignored, there are as many of them for each sample.
    """
    steps, depends, found, chosen = engine.program.steps, on_parameters(engine.program), dict[int, Any](), False
    for number, up in costs.items():
        while True:
            step = steps[number]
            moved = [k for k, source in enumerate(step.inputs) if source in depends]
            if len(moved) != 1 or (step.name not in (*HANDED_ON, "multiply") and (step.name, moved) != ("divide", [0])):
                break
            x = [np.zeros(steps[k].shape) if k in depends else engine.fixed[k] for k in step.inputs]
            up = step.primitive.back(x, moved[0], up, **step.attributes)
            number = step.inputs[moved[0]]
            if step.name == "gather":
                chosen = True
                break
        found[number] = found.get(number, 0.0) + up
    return found if chosen else {}


def _groups(program: Program, costs: Costs) -> list[Costs]:
    """Puts those costs together that have steps in common, besides the parameters."""
    parameters, depends = set(program.parameters), on_parameters(program)
    found: list[tuple[set[int], Costs]] = []
    for number, weights in costs.items():
        own = (depends.intersection(_with_costs(program, [number]).needed) - parameters) | {number}
        together, others = {number: weights}, []
        for before, group in found:
            if before.isdisjoint(own):
                others.append((before, group))
            else:
                own, together = own | before, group | together
        found = [*others, (own, together)]
    return [group for _, group in found]
