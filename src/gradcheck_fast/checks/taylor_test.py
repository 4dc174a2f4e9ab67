"""taylor_test(): whether Taylor remainders fall as they do with a right gradient."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.checks.as_problem import as_problem, is_python_function
from gradcheck_fast.checks.beside_value import BesideValue, beside_value, packer
from gradcheck_fast.checks.complex_gradients import known
from gradcheck_fast.checks.second_order.hvp import takes_params_too
from gradcheck_fast.comparison.compare import NEGLIGIBLE
from gradcheck_fast.inputs import _norms
from gradcheck_fast.inputs.arguments import integer, number
from gradcheck_fast.inputs.complex_pairs import CONVENTIONS, PYTORCH, ComplexLoss, ComplexPairs, has_complex
from gradcheck_fast.inputs.random_numbers import generator
from gradcheck_fast.inputs.selection import select
from gradcheck_fast.inputs.trees import copy, entry_name, pack_as, parts
from gradcheck_fast.losses.function_loss import FunctionLoss
from gradcheck_fast.numerical.evaluate import cost_beside
from gradcheck_fast.numerical.taylor import FIRST, remainders
from gradcheck_fast.report.taylor import TaylorReport
from gradcheck_fast.running.progress import Meter

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.checks.beside_value import Gradient
    from gradcheck_fast.checks.options import Bounds
    from gradcheck_fast.inputs.complex_pairs import Convention
    from gradcheck_fast.inputs.trees import Packed, Tree
    from gradcheck_fast.losses.problem import Loss, Problem
    from gradcheck_fast.numerical.evaluate import Evaluation
    from gradcheck_fast.numerical.taylor import Remainders
    from gradcheck_fast.running.progress import Progress

#: If there are no more arrays than this, each is moved alone even if nothing looks wrong.
MOST_ALONE = 8
#: Rates need at least so many steps.
FEWEST_STEPS = 3


def taylor_test(
    loss: Loss | Problem,
    gradient: Gradient,
    params: Tree,
    *,
    direction: Tree | None = None,
    steps: Sequence[float] | None = None,
    hessian: Callable[..., Tree] | NDArray[np.float64] | None = None,
    seed: int = 0,
    bounds: Bounds | None = None,
    progress: Progress = None,
) -> TaylorReport:
    """Tests a gradient along a direction by the rates at which Taylor remainders fall, as adjoint codes are tested.

    With J the loss, m the parameters and dm a direction, the remainders ``|J(m + h dm) - J(m)|`` and
    ``|J(m + h dm) - J(m) - h dJ·dm|`` fall as h and h² if the gradient is right: their rates are 1 and 2. If it is
    wrong, the rate of the second is 1, too. With a Hessian, ``|J(m + h dm) - J(m) - h dJ·dm - h²/2 dm·H dm|`` falls as
    h³. Steps at which a remainder is hardly more than rounding, or the noise of a solver, are left out of the rates.

    It takes about twenty evaluations of the loss. Where single entries can be moved, `gradcheck` sees more: errors that
    the direction is nearly perpendicular to are missed here.

    Parameters
    ----------
    loss : callable
        ``loss(params) -> float``, as for `gradcheck`; evaluated as it is.
    gradient : tree of arrays, callable, or True
        As for `gradcheck`.
    params : tree of arrays
        m. Not modified. Arrays may be complex: each is then two real ones, as for `gradcheck`, and a note says whose
        convention the gradient has.
    direction : tree of arrays, optional
        dm, a tree like `params`, or one flat vector. By default random normal numbers, times the root mean square of
        their array where that is not zero.
    steps : sequence of float, optional
        h, at least three positive numbers. By default 2⁻⁴ and seven more, each half of the one before, and smaller ones
        as long as the rates do not settle.
    hessian : callable or array, optional
        ``hessian(params, dm)``, or ``hessian(dm)``, gives H dm, a tree like `params`; or H as a matrix of shape
        (size, size).
    seed : int
        The seed of the random direction.
    bounds : dict of str to (low, high), or (low, high); optional
        Where the loss is defined, as for `gradcheck`: it is never evaluated outside. Entries of the random direction
        that lead outside are turned, and made shorter where there is too little room; entries without room stay as they
        are. A direction of yours must stay inside.
    progress : bool or callable, optional
        As for `numerical_gradient`; what is told is how many of the directions are done.

    Returns
    -------
    TaylorReport
        It is true in a boolean context if the rates are those of a right gradient (and Hessian), and has the methods of
        `Report`: print, plot, save, raise_if_failed. If something is not right, or there are at most eight arrays, each
        array is also moved alone, which shows which one is wrong.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; the message names it. Nothing has been changed then.

    Examples
    --------
    >>> import numpy as np
    >>> import gradcheck_fast as gf
    >>> m = {"source": np.array([1.0, 2.0]), "rate": np.array(0.5)}
    >>> loss = lambda m: float(np.exp(m["rate"]) * np.sum(m["source"] ** 2))
    >>> def gradient(m):
    ...     return {"source": np.exp(m["rate"]) * m["source"], "rate": loss(m)}  # a factor 2 is missing
    >>> report = gf.taylor_test(loss, gradient, m)
    >>> report.ok, report.wrong
    (False, ('source',))
    """
    if has_complex(params) and is_python_function(loss):
        if hessian is not None:
            raise ValueError("hessian: it is compared for real parameters only; leave it out")
        return _of_complex(loss, gradient, params, direction, steps=steps, seed=seed, bounds=bounds, progress=progress)
    started = perf_counter()
    chosen = None if steps is None else _read_steps(steps)
    problem = as_problem(loss)
    at = select(problem.pack(params), bounds=bounds).params
    if not at.flat.size:
        raise ValueError("params: there are no entries to move")
    given = beside_value(gradient, problem)
    g = packer(given, at, finite=True)(_called(given, problem, at, params)).flat
    farthest = FIRST if chosen is None else chosen[0]
    dm = _random(at, integer("seed", seed), farthest) if direction is None else _read_direction(direction, at, farthest)
    line = _Line(problem.costs_at(at, 1), at.flat)
    base = line.costs.cost(at.flat)

    def along(name: str, own: NDArray[np.float64]) -> Remainders:
        return remainders(
            name, lambda h: line.value(own, h), base, float(g @ own), steps=chosen,
            curvature=None if hessian is None else _curvature(hessian, own, at, params),
            rounding=float(np.linalg.norm(g * at.flat)),
        )  # fmt: skip

    names = [name for name, part, _ in parts(at.shapes) if dm[part].any()]
    alone: list[Remainders] = []
    with Meter(progress) as meter:
        together = along("", dm)
        if len(names) > 1 and (together.status != "right" or len(names) <= MOST_ALONE):
            least = NEGLIGIBLE * abs(together.slope)
            for done, name in enumerate(names, start=1):
                meter(done / (len(names) + 1))
                one = along(name, np.where(_mask(at, name), dm, 0.0))
                if one.status == "nothing to check" and one.bar > least:
                    one = one._replace(status="inconclusive", says="the loss changes by no more than its rounding")
                alone.append(one)
        meter(1.0)
    line.costs.cost(at.flat)  # leaves the loss at the parameters
    return TaylorReport(
        together=together, arrays=tuple(alone), evaluations=line.count, seconds=perf_counter() - started,
        has_hessian=hessian is not None, notes=line.costs.notes,
    )  # fmt: skip


class _Line:
    """The loss along directions; it counts its evaluations."""

    def __init__(self, costs: Evaluation, theta: NDArray[np.float64]) -> None:
        self.costs, self._theta, self.count = costs, theta, 1

    def value(self, direction: NDArray[np.float64], h: float) -> float:
        """Returns J(m + h dm); NaN where the loss raises."""
        self.count += 1
        return cost_beside(self.costs.cost, self._theta + h * direction)


def _called(gradient: Any, problem: Problem, at: Packed, params: Tree) -> Any:
    """Calls a gradient function right after the loss, as it may need what the loss has kept."""
    if not callable(gradient):
        return gradient
    if isinstance(problem, FunctionLoss) and not isinstance(gradient, BesideValue):
        problem.call(at, copy(params))
    return gradient(copy(params))


def _read_steps(steps: Sequence[float]) -> list[float]:
    found = sorted({number("steps", h, positive=True) for h in steps}, reverse=True)
    if len(found) < FEWEST_STEPS:
        raise ValueError(f"steps: expected at least {FEWEST_STEPS} different numbers, got {len(found)}")
    return found


def _of_complex(
    loss: Callable[[Tree], Any], gradient: Gradient, params: Tree, direction: Tree | None, **options: Any
) -> TaylorReport:
    """Tests a gradient by complex arrays, as that by their real and imaginary parts, by the convention that holds."""
    pairs, is_beside = ComplexPairs(params), gradient is True
    find: Any = loss if is_beside else gradient

    def report_by(convention: Convention) -> TaylorReport:
        derivatives = partial(pairs.derivatives, convention=convention, beside_value=is_beside)
        of_parts = lambda tree: derivatives(find(pairs.join(tree)))[0]
        return taylor_test(
            ComplexLoss(loss, pairs), of_parts if callable(find) else derivatives(find)[0], pairs.split(params),
            direction=None if direction is None else pairs.split(direction), **options,
        )  # fmt: skip

    first = report_by(PYTORCH)
    if first.ok:
        return replace(first, notes=(*first.notes, known(PYTORCH)))
    for convention in CONVENTIONS[1:]:
        report = report_by(convention)
        if report.ok:
            said = f"the gradient is {convention.formula}, as {convention.name} has it; PyTorch has {PYTORCH.formula}"
            return replace(report, notes=(*report.notes, said))
    said = f"complex gradients are compared as {PYTORCH.formula}, which is that of PyTorch; no other convention fits"
    return replace(first, notes=(*first.notes, said))


def _random(at: Packed, seed: int, farthest: float) -> NDArray[np.float64]:
    """Returns a random direction that can be gone `farthest` times."""
    direction = generator(seed).standard_normal(at.flat.size)
    for _, part, _ in parts(at.shapes):
        direction[part] *= _norms.root_mean_square(at.flat[part]) or 1.0
    return direction if at.domain is None else at.domain.along(at.flat, direction, farthest)


def _read_direction(direction: Tree, at: Packed, farthest: float) -> NDArray[np.float64]:
    dm = pack_as(direction, at.shapes, "direction", paths=at.paths).flat
    if not dm.any():
        raise ValueError("direction: all of it is zero, so nothing is moved")
    moved = at.flat + farthest * dm
    if at.domain is not None and not at.domain.holds(moved):
        first = int(np.argmax((moved < at.domain.low) | (moved > at.domain.high)))
        raise ValueError(
            f"direction: it leads {entry_name(at.shapes, first)} out of its bounds at the step {farthest:g}; turn it, "
            "or give smaller steps="
        )
    return dm


def _mask(at: Packed, name: str) -> NDArray[np.bool_]:
    mask = np.zeros(at.flat.size, np.bool_)
    for own, part, _ in parts(at.shapes):
        mask[part] = own == name
    return mask


def _curvature(hessian: Any, direction: NDArray[np.float64], at: Packed, params: Tree) -> float:
    """Returns dm·H dm."""
    size = direction.size
    if not callable(hessian):
        matrix = np.asarray(hessian, np.float64)
        if matrix.shape != (size, size):
            raise ValueError(f"hessian: expected a matrix of the shape {(size, size)}, got the shape {matrix.shape}")
        return float(direction @ matrix @ direction)
    dm = at.unpack(direction.copy())
    found = hessian(copy(params), dm) if takes_params_too(hessian) else hessian(dm)
    return float(pack_as(found, at.shapes, "hessian", paths=at.paths, gradient=True).flat @ direction)
