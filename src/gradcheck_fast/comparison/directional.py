"""Checks the gradient of many parameters along random directions, and locates what is wrong in it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import ceil, floor, hypot, inf, isfinite, log10, nan, prod, sqrt
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gradcheck_fast.comparison.compare import NEGLIGIBLE
from gradcheck_fast.comparison.lines import CONFIDENCE, MORE, Tolerance, check_along
from gradcheck_fast.comparison.localise import Located, inside, locate
from gradcheck_fast.comparison.probe import DIRECTIONS, SMALLEST, ExactProbe, Probe, Table
from gradcheck_fast.comparison.results import ArrayResult, Block, Comparison, Drawn, known
from gradcheck_fast.inputs import _norms
from gradcheck_fast.inputs.arrays import SINGLE, is_float32
from gradcheck_fast.inputs.random_numbers import generator
from gradcheck_fast.inputs.trees import parts
from gradcheck_fast.numerical.evaluate import cost_beside, say_where
from gradcheck_fast.running.replay import Answers, all_answers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.comparison.lines import Tested
    from gradcheck_fast.comparison.localise import Checked
    from gradcheck_fast.comparison.tolerances import Tolerances
    from gradcheck_fast.inputs.trees import Packed, Shape
    from gradcheck_fast.running.runner import Runner

#: Gives the exact change of a cost when flat parameters move by a step along a direction.
Change = Callable[["NDArray[np.float64]", "NDArray[np.float64]", float], float]

#: How many times what was found to be wrong in an array is left out and the rest of it checked again, at most.
_ROUNDS = 8
#: An array is inconclusive if an error of more than this size, relative to its gradient, could have been missed: the
#: gradient may then be wrong by as much as itself.
_POWERLESS = 1.0
#: How many of an array's wrong entries, the worst, are differenced once more before any is called wrong. Each then has
#: the step that suits it: directions have one step for a whole array, and little is known of the loss's noise.
_SUSPECTS = 8
#: With exact differences, an error of less than this part of a typical entry of the whole gradient, in an array of
#: which no entry is wrong by itself, is what rounding leaves where everything cancels.
_CANCELLED = 1e-10
#: How many evaluations of the cost a direction takes: at θ + hr, θ - hr and θ + 2hr.
_EVALUATIONS = 3
#: A stretch of an array's check takes this long, or longer if there are many parameters.
_STRETCH_SECONDS = 1.0
#: It takes at least this for each parameter: all of them are sent to a worker for each stretch, which must not take
#: longer than the stretch.
_SECONDS_PER_PARAMETER = 1e-6


class Directional(NamedTuple):
    """A comparison along directions, and how it was made.

    Attributes
    ----------
    comparison : Comparison
        What was found. The numerical gradient is NaN except where entries were differenced one by one.
    step : float or None
        h; None if it was chosen, or is not the same for all arrays.
    evaluations : int
        How often the cost was evaluated along directions.
    coverage : str
        Which errors would have been seen, in a clause; empty if nothing can be said.
    drawn : dict
        The entries that were differenced one by one, by the label of the block or array in which they lie; only of
        blocks and arrays in which all of them are wrong.
    base : float
        The cost at the parameters.
    """

    comparison: Comparison
    step: float | None
    evaluations: int
    coverage: str
    drawn: dict[str, Drawn]
    base: float
    method: str = "directional"
    kinks: None = None
    certificate: None = None


class _Found(NamedTuple):
    """What is known of one array in the end: the first test, the last one, and what was found in between.

    `not_finite` is the number of entries of the analytic gradient that are not finite. `refuted` tells that the array
    was wrong along directions, but that its entries are not when each is differenced with the step that suits it.
    """

    table: Table
    not_finite: int
    first: Tested | None = None
    last: Tested | None = None
    located: Located = Located()
    refuted: bool = False

    @property
    def suspects(self) -> NDArray[np.intp]:
        """The places in the flat vector of the worst wrong entries among those that were differenced one by one."""
        checked = sorted((*self.located.entries, *self.located.drawn), key=lambda entry: -entry.excess)
        places = [entry.row * self.table.shape[1] + entry.column for entry in checked[:_SUSPECTS] if entry.wrong]
        return self.table.place.start + np.array(places, np.intp)


def compare_along_directions(
    cost: Callable[[NDArray[np.float64]], float], params: Packed, analytic: Packed, tolerances: Tolerances, *,
    step: Callable[[slice], float | None], seed: int, runner: Runner, change: Change | None,
    is_wrong: Callable[[NDArray[np.intp]], NDArray[np.bool_]], free: NDArray[np.bool_] | None = None,
) -> Directional:  # fmt: skip
    """Compares array by array. `lines` explains the mathematics, `localise` how wrong entries are found.

    Parameters
    ----------
    cost : callable
        Gives the cost at a flat vector.
    params, analytic : Packed
        The parameters, and the gradient that is checked.
    tolerances : Tolerances
        They are those of the root mean square of an array's errors. By default as much is allowed as rounding in the
        dtype of the analytic array may do.
    step : callable
        ``step(part)`` gives h, the standard deviation of how far each parameter of an array is moved, for the part of
        the flat vector that the array is; None if it is to be chosen.
    seed : int
        The seed of the random directions.
    change : callable, optional
        ``change(theta, direction, step)`` gives the exact change of the cost when the flat parameters `theta` move by
        step times direction. None: only costs are known.
    runner : Runner
        Does the work. Each array is a task, done in stretches. The result does not depend on who does them: the answers
        of all arrays are found first, and then each check is gone through once more with these.
    is_wrong : callable
        Given the numbers of some entries, tells which of them are wrong when they are compared entry by entry.
    free : ndarray of bool, shape (size,), optional
        The entries that are moved and compared. None: all.
    """
    single, given = is_float32(analytic.flat), Tolerance(tolerances.rtol or 0.0, tolerances.atol or 0.0)
    arrays, typical = [], _norms.root_mean_square(analytic.flat)
    for name, part, shape in parts(analytic.shapes):
        own = Tolerance.of_precision(SINGLE if single else analytic.precision(name), change is not None, typical)
        arrays.append(_Array(name, shape, part, given if tolerances.are_given else own, step(part)))
    base = float(cost(params.flat))
    given_there = analytic.flat if free is None else np.where(free, analytic.flat, 0.0)
    along = _DirectionalCheck(cost, change, base, params.flat, given_there, tuple(arrays), seed, free)
    answers = all_answers(
        along.check, len(arrays), runner, what="arrays along directions", expected=along.expected,
        seconds=max(_STRETCH_SECONDS, _SECONDS_PER_PARAMETER * params.flat.size),
    )  # fmt: skip
    checked = [along.check(number, Answers(known)) for number, known in enumerate(answers)]
    for number, array in enumerate(checked):
        if array.last is not None and not isfinite(array.last.bar):
            along.raise_again(number)
    found = _confirmed(checked, is_wrong, _CANCELLED * typical if change else 0.0)
    steps = {array.step for array in arrays}
    one = steps.pop() if len(steps) == 1 else None
    return _summary(found, analytic, along.base, 1 + sum(map(len, answers)), one, given)


def _confirmed(
    found: list[_Found], is_wrong: Callable[[NDArray[np.intp]], NDArray[np.bool_]], least: float
) -> list[_Found]:
    """Clears the arrays of which no suspect is wrong when it is differenced by itself.

    An array without any suspect is cleared, too, if the typical error of its entries is less than `least`.
    """
    suspects = np.sort(np.concatenate([array.suspects for array in found])) if found else np.empty(0, np.intp)
    wrong = dict(zip(suspects.tolist(), is_wrong(suspects).tolist(), strict=True)) if len(suspects) else {}

    def is_refuted(array: _Found) -> bool:
        own = array.suspects.tolist()
        if not own:
            first = array.first
            return first is not None and first.wrong and first.norms[0] < least * sqrt(array.table.free)
        return not any(wrong[entry] for entry in own)

    return [array._replace(located=Located(), refuted=True) if is_refuted(array) else array for array in found]


class _Array(NamedTuple):
    """One array, where it lies in the flat vectors, what is right of it, and its step, or None."""

    name: str
    shape: Shape
    part: slice
    tolerance: Tolerance
    step: float | None


class _DirectionalCheck(NamedTuple):
    """The arrays that are compared along directions, and the loss whose gradient they are said to be.

    It can be pickled, if the cost can.
    """

    cost: Callable[[NDArray[np.float64]], float]
    change: Change | None
    base: float
    theta: NDArray[np.float64]
    gradient: NDArray[np.float64]
    arrays: tuple[_Array, ...]
    seed: int
    free: NDArray[np.bool_] | None = None

    def check(self, number: int, answers: Answers) -> _Found:
        """Checks the array with this number."""
        _, shape, part, tolerance, step = self.arrays[number]
        table = Table(shape, part.start, self.theta, self.gradient, (self.seed, number))
        if self.free is not None and not self.free[part].all():
            table.fix(~self.free[part].reshape(table.shape))
        if self.change is None:
            probe = Probe(partial(cost_beside, self.cost), self.theta, self.base, answers)
        else:
            probe = ExactProbe(partial(self.change, self.theta), len(self.theta), self.base, answers)
        return _check_array(probe, table, tolerance, step)

    def raise_again(self, number: int) -> None:
        """Moves one of the arrays a little, so that the exception that the loss raises there gets through."""
        name, _, part, *_ = self.arrays[number]
        moved = self.theta.copy()
        moved[part] += (
            (1.0 if self.free is None else self.free[part])
            * SMALLEST
            * generator(self.seed).standard_normal(part.stop - part.start)
        )
        try:
            self.cost(moved)
        except Exception as error:
            say_where(error, f"{name} was moved along a random direction")
            raise

    def expected(self, number: int, given: int) -> int:
        """Returns how many evaluations an array takes at least, if `given` did not suffice: more if it seems wrong."""
        size = prod(self.arrays[number].shape)
        if self.free is not None and not self.free[self.arrays[number].part].any():
            return 0
        right = _EVALUATIONS * min(size, DIRECTIONS)
        if given < right:
            return right
        return right + max(given, _EVALUATIONS * (DIRECTIONS + MORE + size.bit_length()))


def _check_array(probe: Probe, table: Table, tolerance: Tolerance, step: float | None) -> _Found:
    """Checks an array, locates what is wrong, leaves that out and checks the rest, until nothing more is seen."""
    not_finite = ~np.isfinite(table.gradient)
    count = int(np.count_nonzero(not_finite))
    if count:
        table.leave_out(not_finite)
    if table.free == count or not np.isfinite(probe.base):
        return _Found(table, count)
    first = last = check_along(probe, table, tolerance, step)
    located = Located()
    for _ in range(_ROUNDS):
        if not last.wrong:
            break
        size = last.size / sqrt(table.free)
        more = locate(probe, table, tolerance, number=last.number, residual=last.residual, size=size, step=step)
        located = located.and_more(more)
        table.leave_out(_where(table, more))
        if table.left_out is not None and table.left_out.all():
            return _Found(table, count, first, last, located)
        last = check_along(probe, table, tolerance, step)
    if last.wrong:
        everywhere = (((0, table.shape[0]),), ((0, table.shape[1]),))
        located = located._replace(blocks=(*located.blocks, Block(*everywhere, table.shape, 0, 0)))
    return _Found(table, count, first, last, located)


def _where(table: Table, located: Located) -> NDArray[np.bool_]:
    where = np.zeros(table.shape, np.bool_)
    for entry in located.entries:
        where[entry.row, entry.column] = True
    for block in located.blocks:
        where[np.ix_(inside(block.rows, table.shape[0]), inside(block.columns, table.shape[1]))] = True
    return where


def _summary(
    found: list[_Found], analytic: Packed, base: float, evaluations: int, step: float | None, tolerance: Tolerance
) -> Directional:
    some = any(array.located.entries or array.located.drawn for array in found)
    numerical, excess = np.full(analytic.flat.size, nan), np.full(analytic.flat.size, -inf)
    bars = np.full(analytic.flat.size, nan) if some else None
    results: list[ArrayResult] = []
    tests = [array.first for array in found if array.first is not None]
    negligible = NEGLIGIBLE * max((test.size for test in tests), default=0.0)
    for (name, shape), array in zip(analytic.shapes.items(), found, strict=True):
        own = array.table.place
        if array.not_finite:
            excess[own][~np.isfinite(analytic.flat[own])] = inf
        largest = 0.0
        for entry in (*array.located.entries, *array.located.drawn):
            at = own.start + entry.row * array.table.shape[1] + entry.column
            numerical[at], excess[at] = entry.numerical, entry.excess
            if bars is not None:
                bars[at] = entry.bar
            largest = max(largest, abs(float(analytic.flat[at]) - entry.numerical))
        results.append(_result(name, shape, array, largest, tolerance, negligible))
    ratio = nan if any(array.not_finite for array in found) else _relative_error(tests)
    comparison = Comparison(tuple(results), ratio, known(excess), numerical, bars)
    drawn = {}
    for name, array in zip(analytic.shapes, found, strict=True):
        drawn.update(_drawn(name, array, analytic.flat))
    return Directional(comparison, step, evaluations, said_of_power(results), drawn, base)


def _result(
    name: str, shape: Shape, array: _Found, largest: float, tolerance: Tolerance, negligible: float
) -> ArrayResult:
    """Makes the result of one array; of the entries that were not found to be wrong, the last directions tell."""
    size, last, blocks = array.table.theta.size, array.last, array.located.blocks
    free = array.table.free
    drawn = None if free == size else free
    wrong = array.not_finite + len(array.located.entries) + sum(block.estimate for block in blocks)
    if last is None or array.first is None:
        return ArrayResult(
            name, shape, nan if free else 0.0, 0.0, wrong, size, *tolerance[:2], 0, free - array.not_finite, not free,
            drawn,
        )  # fmt: skip
    flat = [entry.row * array.table.shape[1] + entry.column for entry in array.located.entries]
    entries = tuple(tuple(int(i) for i in np.unravel_index(at, shape)) for at in sorted(flat))
    ratio = nan if array.not_finite else _relative_error([array.first])
    powerless = not wrong and (last.power > _POWERLESS or array.refuted)
    empty = powerless and last.silent and (not negligible or last.bar <= negligible)
    return ArrayResult(
        name, shape, ratio, largest, wrong, size, *tolerance[:2], inconclusive=free if powerless and not empty else 0,
        empty=empty, drawn=drawn, power=None if array.refuted else last.power, entries=entries, blocks=blocks,
    )  # fmt: skip


def _relative_error(tests: list[Tested]) -> float:
    """Returns ‖a - n‖ / ‖a + n‖, as the directions of some arrays estimate it."""
    if not tests:
        return nan
    difference, total = (hypot(*norms) for norms in zip(*(test.norms for test in tests), strict=True))
    return difference / total if total else 0.0 if not difference else inf


def said_of_power(results: list[ArrayResult]) -> str:
    """Says which errors would have been seen in the arrays of which that is known; others are inconclusive or empty."""
    powers = {array.name: array.power for array in results if array.power is not None and array.power <= _POWERLESS}
    if not powers:
        return ""
    which = "any one array" if len(powers) == len(results) else f"any one of {len(powers)} of the arrays"
    which = next(iter(powers)) if len(powers) == 1 else which
    elsewhere = " besides what was found" if any(array.wrong for array in results) else ""
    largest = max(powers.values())
    size = f"an error of relative size >= {_rounded_up(largest):.1e}" if largest else "any error"
    return f"{size} in {which}{elsewhere} would have been seen with probability >= {CONFIDENCE}"


def _rounded_up(x: float) -> float:
    """Rounds a positive number up to two significant digits."""
    digit = 10.0 ** (floor(log10(x)) - 1)
    return ceil(x / digit) * digit


def _drawn(name: str, array: _Found, analytic: NDArray[np.float64]) -> dict[str, Drawn]:
    """Returns the differenced entries of each block that is all wrong, and of an array that is, by the part's label."""
    located = array.located
    wrong: dict[str, list[Checked]] = {}
    if 0 < len(located.entries) == array.table.free:
        wrong[name] = list(located.entries)
    for block in located.blocks:
        if 0 < block.wrong == block.drawn:
            rows, columns = (inside(*side) for side in zip((block.rows, block.columns), block.extent, strict=True))
            own = [entry for entry in located.drawn if rows[entry.row] and columns[entry.column]]
            wrong[", ".join(filter(None, (name, block.label)))] = own
    own_analytic, theta = analytic[array.table.place].reshape(array.table.shape), array.table.theta
    form = (-1, 1) if array.table.shape[0] > 1 else (-1,)
    found = {}
    for label, entries in wrong.items():
        places = tuple(np.array([(entry.row, entry.column) for entry in entries]).T)
        numerical = np.array([entry.numerical for entry in entries])
        found[label] = Drawn(name, *(x.reshape(form) for x in (theta[places], own_analytic[places], numerical)))
    return found
