"""A gradient that is compared with a loss: entry by entry, at some entries, or along directions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gradcheck_fast.checks.second_look import compared
from gradcheck_fast.comparison.directional import Change, compare_along_directions
from gradcheck_fast.comparison.sampling import chosen, coverage, drawn_of, whole
from gradcheck_fast.inputs._norms import root_mean_square
from gradcheck_fast.inputs.trees import parts
from gradcheck_fast.losses.function_loss import FunctionLoss, finish
from gradcheck_fast.losses.problem import knows_changes
from gradcheck_fast.losses.rounded_gradient import RoundedGradient
from gradcheck_fast.numerical.projected import projected
from gradcheck_fast.report.report import Report, make_report

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.checks.options import Options
    from gradcheck_fast.comparison.results import Comparison, Drawn
    from gradcheck_fast.comparison.sampling import Sample
    from gradcheck_fast.diagnosis.diagnose import Diagnoses, Diagnosis
    from gradcheck_fast.diagnosis.graph.astray import Astray
    from gradcheck_fast.inputs.constraints import Constrained
    from gradcheck_fast.inputs.trees import Packed, Tree
    from gradcheck_fast.losses.problem import Problem
    from gradcheck_fast.numerical.gradient import Numerical
    from gradcheck_fast.running.runner import Runner

#: Directions move entries that have at least this part of their size, or of what is typical of their array, as room to
#: both sides.
ROOM = 2.0**-12


class Check(NamedTuple):
    """A gradient that is compared with a loss, who does the work, and how it is to be done.

    Attributes
    ----------
    problem : Problem
    params, analytic : Packed
        The parameters, and the gradient that is checked.
    runner : Runner
    options : Options
    entries : ndarray of int, optional
        The entries that are not fixed; None: all.
    gradient : callable, optional
        The user's function that has given the gradient.
    """

    problem: Problem
    params: Packed
    analytic: Packed
    runner: Runner
    options: Options
    entries: NDArray[np.intp] | None = None
    gradient: Callable[[Tree], Tree] | None = None

    def of_all(self) -> Report:
        """Compares every entry."""
        numerical, comparison = compared(self.analytic, self._differences(), self.options, self.runner.n_threads)
        notes = numerical.finish()
        diagnoses: tuple[Diagnosis, ...] = ()
        astray: Astray | None = None
        if any(array.wrong for array in comparison.arrays):
            from gradcheck_fast.diagnosis.diagnose import diagnose  # only wrong gradients wait for its import

            diagnoses, said, astray = diagnose(
                self.problem, self.params, self.analytic, numerical, comparison, self.gradient
            )
            notes = (*notes, *said)
        if any(array.at_kink for array in comparison.arrays):
            notes = (*notes, *self._conventions(numerical, comparison))
        return make_report(
            comparison, self.analytic, numerical, self.params, notes=notes, diagnoses=diagnoses, _astray=astray
        )

    def _conventions(self, numerical: Numerical, comparison: Comparison) -> tuple[str, ...]:
        """Says whose slopes the gradient has at kinks."""
        if numerical.kinks is None:
            return ()
        from gradcheck_fast.diagnosis.kinks.slopes_taken import convention_notes  # as above

        right = numerical.kinks.where & (comparison.excess <= 1.0)
        eps = self.analytic.computed_in.eps
        return convention_notes(self.problem, self.params.flat, self.analytic.flat, right, eps)

    def of_some(self, picked: Sample) -> Report:
        """Compares some entries of each array: those that are not fixed, or a sample of them."""
        at, analytic = self.params, self.analytic
        own, given = picked.of(at), picked.of(analytic)
        found = self._differences(picked.entries)
        numerical, comparison = compared(given, found, self.options, self.runner.n_threads)
        every, notes = whole(comparison, analytic, picked, self._free), numerical.finish()
        diagnoses: tuple[Diagnosis, ...] = ()
        astray: Astray | None = None
        if any(array.wrong for array in comparison.arrays):
            if self.options.sample is None:
                diagnoses, said, astray = self._of_chosen(numerical, every, picked.entries)
                notes = (*notes, *said)
            if not diagnoses:
                diagnoses = self._explain(drawn_of(comparison, own, given, at.shapes), every)
        return make_report(
            every, analytic, numerical, at, coverage=coverage(at.shapes, picked), diagnoses=diagnoses, notes=notes,
            _astray=astray,
        )  # fmt: skip

    @property
    def _free(self) -> NDArray[np.bool_] | None:
        """A mask of the entries that are not fixed; None if none is."""
        if self.entries is None:
            return None
        free = np.zeros(self.params.flat.size, np.bool_)
        free[self.entries] = True
        return free

    def _of_chosen(self, numerical: Numerical, comparison: Comparison, entries: NDArray[np.intp]) -> Diagnoses:
        """Explains what is wrong in arrays without fixed entries.

        Those with some are left out, as only a part of them is known. Where all entries are fixed, what your gradient
        has there is neither right nor wrong, but a mistake that would change it must give just that.
        """
        from gradcheck_fast.diagnosis.diagnose import diagnose  # as above

        known = comparison.numerical.copy()
        if numerical.every is not None and numerical.every.shape == known.shape:
            known = np.where(np.isnan(known), numerical.every, known)
        given, kinks = np.where(np.isfinite(self.analytic.flat), self.analytic.flat, known), numerical.kinks
        checked = chosen(self.params.shapes, entries).counts
        for name, part, _ in parts(self.params.shapes):
            if 0 < checked[name] < part.stop - part.start:
                known[part] = np.nan
        if kinks is not None:
            low, high = np.zeros((2, len(known)))
            low[entries], high[entries] = kinks.low, kinks.high
            kinks = kinks._replace(low=low, high=high)
        return diagnose(
            self.problem, self.params, replace(self.analytic, join=lambda: given),
            numerical._replace(gradient=known, kinks=kinks), comparison._replace(numerical=known), self.gradient,
        )  # fmt: skip

    def _one_step_of(self, part: slice) -> float | None:
        """The step of an array along directions; None if it is chosen."""
        domain = self.params.domain
        steps = None if domain is None or domain.steps is None else domain.steps[part]
        given = steps is not None and len(steps) > 0 and not np.isnan(steps[0])
        return float(steps[0]) if steps is not None and given else self.options.one_step

    @property
    def _movable(self) -> NDArray[np.bool_] | None:
        """A mask of the entries that directions move: those that are not fixed and have room to both sides."""
        domain, theta, free = self.params.domain, self.params.flat, self._free
        if domain is None or not (np.isfinite(domain.low) | np.isfinite(domain.high)).any():
            return free
        room = np.ones(len(theta), np.bool_)
        for _, part, _ in parts(self.params.shapes):
            reach = ROOM * np.maximum(np.abs(theta[part]), root_mean_square(theta[part]) or 1.0)
            room[part] = domain.of(np.arange(part.start, part.stop)).has_room(theta[part], reach)
        return room if free is None else free & room

    @property
    def _at_bounds(self) -> tuple[str, ...]:
        """Says how many entries are not fixed, but too near to their bounds for directions to move them."""
        free, movable = self._free, self._movable
        if movable is None:
            return ()
        whole = np.ones(len(movable), np.bool_) if free is None else free
        said = []
        for name, part, _ in parts(self.params.shapes):
            count = int(np.count_nonzero(whole[part] & ~movable[part]))
            if count:
                are = "entry is" if count == 1 else "entries are"
                said.append(
                    f"{name}: {count:,} {are} at a bound, where directions cannot move to both sides: not checked; "
                    "method='direct', with sample= or only= if there are many parameters, checks single entries"
                )
        return tuple(said)

    def along_directions(self) -> Report:
        """Compares all entries of each array at once, along random directions."""
        problem, threads, noticed = self.problem, self.runner.n_threads, list[str]()
        costs = problem.costs_at(self.params, threads)
        change: Change | None = partial(problem.change, n_threads=threads) if knows_changes(problem) else None
        if change is not None and self._constrained is not None:
            change = partial(_on_tangent_space, change, self._constrained)
        found = compare_along_directions(
            costs.cost, self.params, self.analytic, self.options.tolerances, step=self._one_step_of,
            seed=self.options.seed, runner=self.runner, change=change, is_wrong=partial(self._are_wrong, noticed),
            free=self._movable,
        )  # fmt: skip
        own = problem.notes if isinstance(problem, (FunctionLoss, RoundedGradient)) else ()
        own = (*self._at_bounds, *own)
        notes = tuple(dict.fromkeys((*finish(costs, self.params.flat, found.base), *noticed, *own)))
        diagnoses = self._explain(found.drawn, found.comparison)
        return make_report(
            found.comparison, self.analytic, found, self.params, coverage=found.coverage,
            evaluations=found.evaluations, diagnoses=diagnoses, notes=notes,
        )  # fmt: skip

    def _explain(self, drawn: Mapping[str, Drawn], comparison: Comparison) -> tuple[Diagnosis, ...]:
        """What would explain entries that were drawn from wrong parts of arrays."""
        if not drawn:
            return ()
        from gradcheck_fast.diagnosis.diagnose import diagnose_drawn  # as above

        return diagnose_drawn(self.problem, self.analytic, drawn, comparison.arrays)

    def _differences(self, entries: NDArray[np.intp] | None = None) -> Numerical:
        """The numerical gradient by the method that was asked for: all of it, or some entries."""
        return self._found_by(self.options.method, self.options.one_step, self.runner, entries)

    def _found_by(
        self, method: str, step: float | None, runner: Runner, entries: NDArray[np.intp] | None
    ) -> Numerical:  # fmt: skip
        """The numerical gradient by some method, on the tangent space of constraints."""
        find = partial(
            self.problem.central_differences, self.params, method=method, step=step, runner=runner, kinks=True
        )
        problem = self.problem.problem if isinstance(self.problem, RoundedGradient) else self.problem
        if self._constrained is None or isinstance(problem, FunctionLoss):  # that knows of constraints
            return find(entries=entries)
        found = projected(find(), self._constrained)
        return found if entries is None else found.of(entries)

    @property
    def _constrained(self) -> Constrained | None:
        return None if self.params.domain is None else self.params.domain.constrained

    def _are_wrong(self, noticed: list[str], entries: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Differences some entries, in order, one by one, and says which are wrong.

        What was noticed of the loss is added to `noticed`.
        """
        numerical = self._found_by("auto", None, self.runner.quietly(), entries)
        given = chosen(self.params.shapes, entries).of(self.analytic)
        numerical, comparison = compared(given, numerical, self.options, self.runner.n_threads)
        noticed += numerical.finish()
        return comparison.excess > 1.0


def _on_tangent_space(
    change: Change, constrained: Constrained, theta: NDArray[np.float64], direction: NDArray[np.float64], step: float
) -> float:
    """Returns the exact change of a cost along the projection of a direction onto the tangent space of constraints."""
    return change(theta, constrained.project(direction), step)


def on_tangent_space(gradient: Packed, params: Packed) -> Packed:
    """Returns a gradient as it is compared: projected, if the parameters satisfy constraints."""
    constrained = None if params.domain is None else params.domain.constrained
    if constrained is None:
        return gradient
    flat = constrained.project(gradient.flat)
    return replace(gradient, join=lambda: flat)
