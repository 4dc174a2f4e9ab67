"""Runs any program by the rules of its primitives: the cost, its derivative by every parameter, and its changes.

This is the executor of what is traced: whatever the steps are, the whole program is run at once, in NumPy. What is
known of the program is looked up beforehand, so that the loops only call the rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, cached_property, lru_cache
from inspect import unwrap
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from gradcheck_fast.engine._entrywise import Entrywise
from gradcheck_fast.kernels.instruction_sets import instruction_set
from gradcheck_fast.numerical.gradient import CHAIN_STEPS, NEAR_KINK, PLAIN_STEP
from gradcheck_fast.program.primitive import SLOPE_STEP, smooth
from gradcheck_fast.program.steps import elementwise
from gradcheck_fast.program.steps.leaves import INPUT, PARAMETER
from gradcheck_fast.program.steps.opaque import OPAQUE
from gradcheck_fast.program.twin import on_parameters

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.program.primitive import Primitive
    from gradcheck_fast.program.program import Program, Step

    Reals = NDArray[np.float64]

Rule: TypeAlias = Callable[..., Any]
Numbers: TypeAlias = tuple[int, ...]
#: A chained gradient with its certificate takes about as long as this many evaluations.
PASSES = 20.0
#: To run a step takes as long as this many operations, besides those that it does.
STEP_WORK = 4000.0
#: The largest block of memory that the GNU C library keeps when it is freed: almost 32 MB (mallopt, M_MMAP_THRESHOLD).
KEPT = 2**25 - 2**16
#: What rules raise where they are not defined, such as at a singular matrix.
UNDEFINED = (ArithmeticError, np.linalg.LinAlgError)


class RulesEngine:
    """A program of any steps, with its data. Several threads may use it at once, each at its own `RulesPoint`.

    Parameters
    ----------
    program : Program
    inputs, targets : ndarray of float64, shape (samples, width), optional
        The matrices that its input steps read, if it has any.
    """

    shares = range(1)

    def __init__(self, program: Program, inputs: Reals | None = None, targets: Reals | None = None) -> None:
        self.program, self.inputs, self.targets = program, inputs, targets
        self.isa = instruction_set()
        _keep_memory()

    def __reduce__(self) -> tuple[type[RulesEngine], tuple[Any, ...]]:
        return RulesEngine, (self.program, self.inputs, self.targets)

    @cached_property
    def sizes(self) -> list[int]:
        """The number of entries of each array of the parameters."""
        return self.program.sizes

    @cached_property
    def work(self) -> float:
        """The estimated operations of one evaluation."""
        work = self.program.work
        return sum(work[number] for number in self.computed) + STEP_WORK * len(self.computed)

    @cached_property
    def computed(self) -> list[int]:
        """The numbers of the steps that a cost depends on, besides the parameters and the data."""
        steps = self.program.steps
        return [number for number in self.program.needed if steps[number].name not in (INPUT.name, PARAMETER.name)]

    @cached_property
    def is_exact(self) -> bool:
        """Whether every step has an exact difference of its own."""
        return not any(self.program.steps[number].name == OPAQUE.name for number in self.computed)

    @cached_property
    def smallest_step(self) -> float:
        """The step of the differences of the whole cost, which is that of plain arithmetic if values are subtracted."""
        return CHAIN_STEPS[0] if self.is_exact else PLAIN_STEP

    @cached_property
    def plan(self) -> RulesPlan:
        """What is run, and in which order."""
        return RulesPlan(self.program, self.computed, self.isa)

    @cached_property
    def fixed(self) -> list[Any]:
        """The values of the steps that depend on no parameter, by their numbers; None for the others."""
        values: list[Any] = [None] * len(self.program.steps)
        if self.inputs is not None:
            for number, value in self.program.leaves(np.empty(self.program.size), self.inputs, self.targets).items():
                if self.program.steps[number].name == INPUT.name:
                    values[number] = value
        with np.errstate(all="ignore"):
            _evaluate(self.plan.fixed, values)
        return values

    def at(self, theta: Reals, n_threads: int) -> RulesPoint:
        """Returns the program at the flat parameters `theta`, which are not changed as long as that is in use."""
        return RulesPoint(self, theta, n_threads)


class Rules(NamedTuple):
    """The rules of a primitive as they are run, with warnings turned off: those of its kernel, if it has one."""

    value: Rule
    difference: Rule
    back: Rule
    back_all: Rule | None
    kinks: Rule


@lru_cache(maxsize=512)
def _rules(primitive: Primitive, isa: str) -> Rules:
    has_kernel = primitive in elementwise.PRIMITIVES
    found = Entrywise(primitive.name, SLOPE_STEP, isa) if has_kernel else primitive
    value, kinks = unwrap(primitive.value), unwrap(primitive.kinks)
    return Rules(value, unwrap(found.difference), unwrap(found.back), primitive.back_all, kinks)


class RulesPlan:
    """The rules of a program, step by step, bound to the numbers of the inputs and to the attributes.

    Attributes
    ----------
    parameters : list of (number, begin, end, shape)
        Where each array of the parameters lies in the flat vector.
    fixed, values : list of (number, rule, inputs, attributes)
        The values of the steps that depend on no parameter, and of those that do.
    changes : list of (number, rule, inputs, attributes, over)
        The differences of the latter, each with the steps that no later one reads.
    backs : list of (number, rule, rule of all inputs or None, inputs, attributes, targets)
        What goes back, from the last step to the first; the targets are the inputs that depend on parameters, each as
        its place among the inputs and its number.
    costs : list of int
        The costs that depend on parameters.
    """

    def __init__(self, program: Program, computed: Sequence[int], isa: str) -> None:
        steps, depends = program.steps, on_parameters(program)
        self.all_costs, self.costs = program.costs, [number for number in program.costs if number in depends]
        self.parameters, begin = list[tuple[int, int, int, tuple[int, ...]]](), 0
        for number in program.parameters:
            end = begin + int(np.prod(steps[number].shape, dtype=np.intp))
            self.parameters.append((number, begin, end, steps[number].shape))
            begin = end
        bound = [(number, steps[number], _rules(steps[number].primitive, isa)) for number in computed]
        moved = [(number, step, rules) for number, step, rules in bound if number in depends]
        self.fixed, self.values = (
            [(number, rules.value, step.inputs, step.attributes) for number, step, rules in some]
            for some in ([row for row in bound if row[0] not in depends], moved)
        )
        last_reader = {source: number for number, step, _ in moved for source in step.inputs}
        kept, over = set(program.costs), dict[int, list[int]]()
        for source, number in last_reader.items():
            if source in depends and source not in kept:
                over.setdefault(number, []).append(source)
        self.changes: list[tuple[int, Rule, Numbers, Mapping[str, Any], list[int]]] = [
            (number, rules.difference, step.inputs, step.attributes, over.get(number, []))
            for number, step, rules in moved
        ]
        self.backs: list[tuple[int, Rule, Rule | None, Numbers, Mapping[str, Any], list[tuple[int, int]]]] = [
            (
                number, rules.back, rules.back_all, step.inputs, step.attributes,
                [(k, source) for k, source in enumerate(step.inputs) if source in depends],
            )
            for number, step, rules in reversed(moved)
        ]  # fmt: skip
        self.kinks = [
            (number, rules.kinks, step.inputs, step.attributes)
            for number, step, rules in moved
            if rules.kinks is not smooth
        ]


class RulesPoint:
    """A program at some parameters. The values of all steps are computed once, when they are first needed.

    Where a rule is not defined, what was to be found is NaN.

    Parameters
    ----------
    engine : RulesEngine
    theta : ndarray of float64, shape (size,)
        The parameters.
    n_threads : int
        How many threads work on vectors of the size of the parameters; the rules are NumPy's own.
    """

    def __init__(self, engine: RulesEngine, theta: Reals, n_threads: int) -> None:
        self.engine, self.theta, self.n_threads = engine, theta, n_threads
        self._values: list[Any] | None = None
        self._backs: list[Any] | None = None  # to all steps, if they are needed once more
        self._near: tuple[float, dict[int, Reals]] | None = None

    def __enter__(self) -> RulesPoint:
        return self

    def __exit__(self, *error: Any) -> None:
        self._values = self._backs = self._near = None

    @property
    def values(self) -> list[Any]:
        """The value of every step that a cost depends on; None for the others."""
        if self._values is None:
            values, plan = self.engine.fixed.copy(), self.engine.plan
            for number, begin, end, shape in plan.parameters:
                values[number] = self.theta[begin:end].reshape(shape)
            with np.errstate(all="ignore"):
                _evaluate(plan.values, values)
            self._values = values
        return self._values

    def cost(self) -> float:
        """Returns the cost."""
        try:
            return sum(float(self.values[number].sum()) for number in self.engine.plan.all_costs)
        except UNDEFINED:
            return np.nan

    def gradient(self, h: float = 0.0) -> Reals:
        """Returns the derivatives of the cost by all parameters.

        They are chained from central differences of single steps, each with a step of its own, so that h is not used.
        """
        gradient, parameters = np.zeros(self.engine.program.size), self.engine.plan.parameters
        try:
            backs = self._back(keep=False) if self._backs is None else self._backs
            if not all(backs[number] is None or np.isfinite(backs[number]).all() for number, *_ in parameters):
                backs = self._back(keep=False, only_defined=True)
        except UNDEFINED:
            gradient.fill(np.nan)
            return gradient
        for number, begin, end, _ in parameters:
            if backs[number] is not None:
                gradient[begin:end] = np.ravel(backs[number])
        return gradient

    def chain(self, h: float, share: int, gradient: Reals) -> int:
        """Adds the derivatives to `gradient`, and returns how many values lie on kinks.

        If there are any, what goes back to every step is kept, to find what they leave open.
        """
        try:
            kinks = self.kinks(NEAR_KINK)
            if kinks:
                self._backs = self._back(keep=True)
        except UNDEFINED:
            kinks = 0
        gradient += self.gradient(h)
        return kinks if np.isfinite(gradient).all() else 0

    def along(self, direction: Reals, scales: Sequence[float]) -> Reals:
        """Returns how much the cost changes if the parameters move by a direction times some scales.

        No two costs are subtracted: each step computes its own exact difference, of any size.
        """
        return np.array([self._along(direction, scale) for scale in scales])

    def vector(self) -> Reals:
        """Returns memory of the size of the parameters."""
        return np.empty(self.engine.program.size)

    def parts(self) -> Iterator[RulesPart]:
        """Yields the whole program, which is run at once."""
        yield RulesPart(self)

    def kinks(self, distance: float) -> int:
        """Returns how many values lie on kinks, within a distance."""
        return sum(margins.size for margins in self.near_kinks(distance).values())

    def near_kinks(self, distance: float) -> dict[int, Reals]:
        """Returns how far the values that are within a distance of kinks lie from these, for each step with any."""
        if self._near is None or self._near[0] != distance:
            near = {number: margins[np.abs(margins) <= distance] for number, margins in self.margins()}
            self._near = distance, {number: margins for number, margins in near.items() if margins.size}
        return self._near[1]

    def margins(self) -> Iterator[tuple[int, Reals]]:
        """Yields the steps with kinks, with the distances of their values from these."""
        values, plan = self.values, self.engine.plan
        with np.errstate(all="ignore"):
            found = [(row, row[1]([values[k] for k in row[2]], **row[3])) for row in plan.kinks]
        plan.kinks = [row for row, margins in found if margins.size]  # the others never have any, whatever the values
        return ((row[0], margins) for row, margins in found if margins.size)

    def sensitivities(self) -> dict[int, Reals]:
        """Returns the derivatives of the cost by the entries of each step that is a parameter or depends on one."""
        backs, self._backs = self._backs, None  # those that `chain` has found are needed once
        backs = self._back(keep=True) if backs is None else backs
        return {number: back for number, back in enumerate(backs) if back is not None}

    def changes(self, direction: Reals, scale: float, *, keep: bool = True) -> list[Any]:
        """Returns by how much each step changes; None for those that do not, or, unless `keep`, that are read."""
        values, plan, moved = self.values, self.engine.plan, scale * direction
        d: list[Any] = [None] * len(values)
        for number, begin, end, shape in plan.parameters:
            d[number] = moved[begin:end].reshape(shape)
        with np.errstate(all="ignore"):
            for number, rule, inputs, attributes, over in plan.changes:
                d[number] = rule([values[k] for k in inputs], [d[k] for k in inputs], **attributes)
                if over and not keep:
                    for k in over:
                        d[k] = None
        return d

    def _along(self, direction: Reals, scale: float) -> float:
        try:
            d = self.changes(direction, scale, keep=False)
        except UNDEFINED:
            return np.nan
        return sum(float(d[number].sum()) for number in self.engine.plan.costs)

    def _back(self, keep: bool, only_defined: bool = False) -> list[Any]:
        """Returns what goes back to each step; unless `keep`, only to the parameters.

        With `only_defined`, nothing goes back through entries that are not finite: where the cost is, it does not
        depend on them, as on those that a choice has left out.
        """
        values, plan = self.values, self.engine.plan
        found: list[Any] = [None] * len(values)
        for number in plan.costs:
            found[number] = np.ones_like(values[number])
        own = bytearray(len(values))  # marks the sums, which nothing else refers to
        with np.errstate(all="ignore"):
            for number, rule, rule_of_all, inputs, attributes, targets in plan.backs:
                up = found[number]
                if not keep:
                    found[number] = None
                x = [values[k] for k in inputs]
                defined = np.isfinite(values[number]) if only_defined else None
                if defined is not None:
                    up = np.where(defined, up, 0.0)
                backs = None if rule_of_all is None else rule_of_all(x, up, **attributes)
                for k, source in targets:
                    back = rule(x, k, up, **attributes) if backs is None else backs[k]
                    if defined is not None and defined.shape == np.shape(back):
                        back = np.where(defined, back, 0.0)
                    before = found[source]
                    if before is None:
                        found[source] = back
                    elif own[source]:
                        before += back
                        found[source] = before
                    else:
                        found[source] = before + back
                        own[source] = True
        return found


class RulesPart:
    """The whole program, with the values of all steps; see `executor.Part`."""

    def __init__(self, point: RulesPoint) -> None:
        self._point = point
        self.values: Sequence[Reals] = point.values

    def attributes(self, step: Step) -> Mapping[str, Any]:
        return step.attributes

    def changes(self, direction: Reals, h: float) -> dict[int, Reals]:
        changes = self._point.changes(direction, h)
        return {number: change for number, change in enumerate(changes) if change is not None}

    def backs(self) -> dict[int, Reals]:
        return self._point.sensitivities()


@cache
def _keep_memory() -> None:
    """Makes the C library keep memory that is freed, up to twice `KEPT`, instead of clearing it for every step anew.

    That of GNU does so once it has freed a block of that size, which is never written to; others ignore it.
    """
    np.empty(KEPT, np.uint8)


def _evaluate(plan: Sequence[tuple[int, Rule, Numbers, Mapping[str, Any]]], values: list[Any]) -> None:
    """Computes the values of some steps, in place."""
    for number, rule, inputs, attributes in plan:
        values[number] = rule([values[k] for k in inputs], **attributes)
