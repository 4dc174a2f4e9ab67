"""A Python function of which a program is known: its gradient is chained, with the certificate of the whole cost.

Or every entry is moved by itself (`incremental`); the trace is looked at in the same way before.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.engine.cancellation import roundings
from gradcheck_fast.engine.certificate import DIRECTIONS, certified
from gradcheck_fast.engine.entries import differences_of_entries
from gradcheck_fast.engine.open_slopes import STEP, sides, spreads
from gradcheck_fast.engine.rules import RulesEngine
from gradcheck_fast.inputs.arrays import digest
from gradcheck_fast.losses.chained import Chained, chained
from gradcheck_fast.losses.function_loss import FunctionLoss, finish, require_finite, require_one_of
from gradcheck_fast.numerical.evaluate import cost_beside
from gradcheck_fast.numerical.gradient import CHAIN_STEPS, Kinks, Numerical, jitter
from gradcheck_fast.numerical.in_domain import InDomain
from gradcheck_fast.numerical.projected import projected
from gradcheck_fast.program.primitive import SLOPE_STEP

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.engine.rules import RulesPoint
    from gradcheck_fast.inputs.domain import Domain
    from gradcheck_fast.inputs.trees import Packed
    from gradcheck_fast.numerical.evaluate import Costs
    from gradcheck_fast.program.program import Program
    from gradcheck_fast.running.runner import Runner

#: The methods that difference the whole cost, with what they move; they take error bars and kinks from the chain.
BESIDE_CHAIN = {"incremental": "single entries", "units": "units"}
#: Entries are moved one by one, such as those that a kink reaches, if that takes no more than this many estimated
#: operations: about a second.
SINGLES_WORK = 1e9
#: So few entries may take more.
FEW_SINGLES, FEW_SINGLES_WORK = 64, 5e10
#: An entry that is smaller may be nothing but the truncation of slopes.
TINY = 2.0**-60
#: The values of the function and of its program may differ by this part of them.
SAME_VALUE = 1e-10
#: And by this many times what some roundings of the parameters change in the function.
CONDITION = 8.0
#: Two gradients are the same if those of each array differ by less than this part of them.
SAME_GRADIENT = 1e-12


class ProgramLoss(FunctionLoss):
    """A Python function of a tree of parameters, with a program that computes the same.

    Where the program does not give the value of the function, or its gradient cannot be certified, it is not used: the
    function is differenced like any other, and a note says why.

    Parameters
    ----------
    costs_of : callable
        As for `FunctionLoss`.
    function : callable
        The function itself, of one tree.
    program : Program
        Its parameters are the arrays of the tree, in the order of the flat vector.
    notes : tuple of str
        What should be known of the program.

    Attributes
    ----------
    directions : int
        Along how many random directions a chained gradient is compared with differences of the cost.
    """

    methods: tuple[str, ...] = ("chain", "incremental", "direct", "complex")
    directions = DIRECTIONS

    def __init__(
        self, costs_of: Callable[[Packed], Costs], function: Callable[[Any], Any], program: Program,
        notes: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        super().__init__(costs_of, function)
        self.program, self.notes = program, notes
        self.engine = RulesEngine(program)

    @cached_property
    def _shapes(self) -> list[tuple[int, ...]]:
        return [self.program.steps[number].shape for number in self.program.parameters]

    @property
    def has_exact_changes(self) -> bool:
        """Whether the program has no opaque step, whose values are subtracted."""
        return self.engine.is_exact

    def change(
        self, theta: NDArray[np.float64], direction: NDArray[np.float64], step: float, n_threads: int = 1
    ) -> float:
        """Gives the change of the cost when the flat parameters `theta` move by step times direction.

        See `has_exact_changes`.

        Raises
        ------
        ValueError
            If the program has another number of parameters.
        """
        if len(theta) != self.program.size:
            raise ValueError(f"params: the program is one of {self.program.size} numbers, got {len(theta)}")
        with self.engine.at(theta, n_threads) as point:
            return float(point.along(direction, (step,))[0])

    def fingerprint(self, params: Packed) -> str:
        """Gives a text that depends on the program and on the values of the function."""
        return f"{super().fingerprint(params)} {digest([str(step.name) for step in self.program.steps])}"

    def faster(self, method: str, seconds: float, entries: NDArray[np.intp] | None = None) -> str:
        """Says what would take less than these seconds."""
        if method in (*BESIDE_CHAIN, "direct", "complex"):
            return "method='chain' takes far less"
        return "with fewer samples it takes less, and gf.gradcheck(..., method='directional') takes less"

    def central_differences(
        self, params: Packed, *, method: str, step: float | None, runner: Runner, kinks: bool = False,
        entries: NDArray[np.intp] | None = None,
    ) -> Numerical:  # fmt: skip
        """Finds the gradient; see `Problem`. Plain differences are made with ``auto`` if the user chooses their step.

        Raises
        ------
        TypeError, ValueError
            As `FunctionLoss` does; also if a method of the trace is asked for with a step of the user's.
        """
        require_one_of(self.methods, method)
        if method in ("chain", *BESIDE_CHAIN) and step is not None:
            raise ValueError("step: the slopes of a traced function have steps of their own; leave it out")
        plain = partial(
            super().central_differences, params, step=step, runner=runner, kinks=kinks, entries=entries,
        )  # fmt: skip
        domain = params.domain
        if step is not None or not params.flat.size or (domain is not None and domain.steps is not None):
            return plain(method="auto" if method in BESIDE_CHAIN else method)
        if method not in ("auto", "chain", *BESIDE_CHAIN):
            return plain(method=method)
        found = self._by_chain(params, runner)
        if isinstance(found, Numerical):
            constrained = None if domain is None else domain.constrained
            if method in BESIDE_CHAIN:
                every = None if constrained else entries  # a projection is made of all
                found = self._beside_chain(method, params.flat, found, runner, every)
                entries = entries if constrained else None
            found = projected(found, constrained) if constrained else found
            return found if entries is None else found.of(entries)
        differences, note = plain(method="auto"), f"{found}; plain differences of the function are used"
        finish_plainly = differences.finish
        return differences._replace(finish=lambda: (*finish_plainly(), note))

    def _by_chain(self, params: Packed, runner: Runner) -> Numerical | str:
        """Finds the gradient by the chain, or says why it is not used."""
        theta, costs = params.flat, self._costs_of(params)
        base = self._base(costs, theta)
        require_finite(base)
        if list(params.shapes.values()) != self._shapes:
            return "the function was traced with parameters of other shapes, and the trace is not used"
        try:
            with self.engine.at(theta, runner.n_threads) as point:
                if not self._has_value(costs, theta, point.cost(), base):
                    return (
                        f"the trace is not used, for it gives {point.cost()!r} where the function gives {base!r}: the "
                        "function takes another way at these parameters, or it is not deterministic"
                    )
                found = self._chained(point, runner, self.directions)
        except MemoryError:
            raise
        except Exception as error:  # an unknown function may raise anything beside the parameters
            return f"the trace is not used, for {type(error).__name__} was raised: {error}"
        gradient, open_slopes, certificate = found
        if certificate is None:
            return "the trace is not used, for the slopes of some of its steps are not finite here"
        if not certificate.holds and not self.engine.is_exact:
            return (
                f"the trace is not used, for {certificate.disagreement}: some of its steps are differenced by "
                "themselves, and have too few digits here"
            )
        if not certificate.holds:
            return (
                f"the trace is not used, for {certificate.disagreement}. This is a fault of gradcheck_fast: please "
                "report it, with the function"
            )
        from_inside = np.empty(0, np.intp)
        if open_slopes and params.domain is not None:
            from_inside = self._from_inside(params.domain, theta, gradient, open_slopes, runner.n_threads)
            open_slopes = open_slopes if open_slopes.where.any() else None
        if open_slopes:
            open_slopes = self._decided(theta, gradient, open_slopes, runner.n_threads)

        def again(times: float) -> NDArray[np.float64]:
            moved = self._again(theta, runner, times)
            moved[from_inside] = gradient[from_inside]
            return moved

        return Numerical(
            gradient, "chain", self.engine.is_exact, SLOPE_STEP, again,
            roundings=partial(self._roundings, theta, runner), kinks=open_slopes,
            finish=lambda: (*self.notes, *finish(costs, theta, base)), certificate=certificate,
        )  # fmt: skip

    def _differences(
        self, method: str, theta: NDArray[np.float64], runner: Runner, entries: NDArray[np.intp] | None
    ) -> tuple[NDArray[np.float64], float]:
        """Finds the gradient by differences of the whole cost; also returns their step."""
        return differences_of_entries(self.engine, theta, runner, entries)

    def _beside_chain(
        self, method: str, theta: NDArray[np.float64], chain: Numerical, runner: Runner,
        entries: NDArray[np.intp] | None,
    ) -> Numerical:  # fmt: skip
        """Finds the gradient, or some entries, by differences of the cost; the chain gives error bars and kinks.

        What is certified is the chain, and the gradient if it is not the same; then, if its certificate does not hold,
        the chain is returned with a note.
        """
        gradient, step = self._differences(method, theta, runner, entries)
        found = chain._replace(gradient=gradient, method=method, step=step)
        if chain.kinks is not None:  # the slopes are told from the gradient, which is another one now
            where, off = chain.kinks.where, chain.gradient - gradient
            low, high = (np.where(where, side + off, 0.0) for side in (chain.kinks.low, chain.kinks.high))
            found = found._replace(kinks=chain.kinks._replace(low=low, high=high))
        if entries is not None:
            return found._replace(certificate=None).of(entries)
        if chain.kinks is not None or self._are_same(gradient, chain.gradient):
            return found
        with self.engine.at(theta, runner.n_threads) as point:
            certificate = certified(point, gradient, 0, self.engine.smallest_step, self.directions)
        if certificate.holds:
            return found._replace(certificate=certificate)
        note = (
            f"the differences of {BESIDE_CHAIN[method]} are not used, for {certificate.disagreement}. This is a fault "
            "of gradcheck_fast: please report it, with the function. The gradient is chained"
        )
        return chain._replace(finish=lambda: (*chain.finish(), note))

    def _are_same(self, gradient: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
        """Whether two gradients are the same, array by array, but for roundings."""
        ends = np.cumsum(self.engine.sizes)[:-1]
        parts = zip(np.split(gradient - other, ends), np.split(other, ends), strict=True)
        return all(bool(np.linalg.norm(off) <= SAME_GRADIENT * np.linalg.norm(size)) for off, size in parts)

    def _base(self, costs: Costs, theta: NDArray[np.float64]) -> float:
        """Returns the cost of the function."""
        return costs.cost(theta)

    def _has_value(self, costs: Costs, theta: NDArray[np.float64], traced: float, base: float) -> bool:
        off, allowed = abs(traced - base), SAME_VALUE * abs(base)
        if off > allowed:
            near = costs.domain.into(jitter(theta), theta) if isinstance(costs, InDomain) else jitter(theta)
            allowed += CONDITION * abs(cost_beside(costs.cost, near) - base)
        return off <= allowed

    def _again(self, theta: NDArray[np.float64], runner: Runner, times: float) -> NDArray[np.float64]:
        """Finds the gradient once more, at parameters that are moved by some roundings: the slopes keep their steps.

        So truncation does not show, which only tiny entries consist of. Some of these are found by differences of the
        whole cost, whose step is smaller.
        """
        with self.engine.at(jitter(theta), runner.n_threads) as point:
            gradient = self._chained(point, runner.quietly()).gradient
            tiny = np.flatnonzero((np.abs(gradient) < TINY) & (gradient != 0.0))
            if self.engine.is_exact and self._may_move(len(tiny)):
                unit = np.zeros_like(theta)
                for entry in tiny:
                    unit[entry] = 1.0
                    plus, minus = point.along(unit, (STEP, -STEP)).tolist()
                    gradient[entry], unit[entry] = (plus - minus) / (2.0 * STEP), 0.0
        return gradient

    def _chained(self, point: RulesPoint, runner: Runner, directions: int | None = None) -> Chained:
        step = self.engine.smallest_step
        return chained(point, CHAIN_STEPS[0], runner, lambda: spreads(point).by_parameter, directions, step)

    def _roundings(self, theta: NDArray[np.float64], runner: Runner) -> NDArray[np.float64]:
        with self.engine.at(theta, runner.n_threads) as point:
            return roundings(point)

    def _may_move(self, count: int) -> bool:
        """Whether it does not take too long to move so many entries one by one."""
        return 2.0 * count * self.engine.work <= (FEW_SINGLES_WORK if count <= FEW_SINGLES else SINGLES_WORK)

    def _from_inside(
        self, domain: Domain, theta: NDArray[np.float64], gradient: NDArray[np.float64], kinks: Kinks, n_threads: int
    ) -> NDArray[np.intp]:
        """Finds the slopes of entries at bounds from inside, which leave nothing open; writes them as `_decided` does.

        So do plain differences, which see no kink at a bound. Returns the numbers of these entries.
        """
        above, below = theta < domain.high, theta > domain.low
        reached = np.flatnonzero(kinks.where & (above != below))
        if not self.engine.is_exact or not self._may_move(len(reached)):
            return reached[:0]
        with self.engine.at(theta, n_threads) as point:
            unit = np.zeros_like(theta)
            for entry in reached.tolist():
                unit[entry], h = 1.0, STEP if above[entry] else -STEP
                slope = float(point.along(unit, (h,))[0]) / h
                unit[entry] = 0.0
                gradient[entry], kinks.low[entry], kinks.high[entry] = slope, 0.0, 0.0
        return reached

    def _decided(
        self, theta: NDArray[np.float64], gradient: NDArray[np.float64], kinks: Kinks, n_threads: int
    ) -> Kinks | None:
        """Finds the slopes that kinks leave open one entry after the other, unless that takes too long.

        Writes them into `gradient` and `kinks`, in place of their outer bound, where that can be done.
        """
        reached = np.flatnonzero(kinks.where)
        if not self.engine.is_exact or not self._may_move(len(reached)):
            return kinks
        with self.engine.at(theta, n_threads) as point:
            found = spreads(point)
            for entry in reached.tolist():
                slopes = sides(point, entry, found)
                if slopes is not None:
                    gradient[entry] = 0.5 * (slopes[0] + slopes[1])
                    kinks.low[entry], kinks.high[entry] = slopes - gradient[entry]
        return kinks if kinks.where.any() else None
