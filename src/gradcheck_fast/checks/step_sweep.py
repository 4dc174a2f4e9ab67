"""plot_step_sweep(): how the error of a numerical gradient depends on its step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_fast.checks.as_problem import as_problem
from gradcheck_fast.checks.beside_value import beside_value, packer
from gradcheck_fast.comparison.compare import relative_error
from gradcheck_fast.inputs.arguments import choose, integer, number
from gradcheck_fast.inputs.trees import copy
from gradcheck_fast.losses.program_loss import ProgramLoss
from gradcheck_fast.running.runner import Runner

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from gradcheck_fast.inputs.trees import Tree
    from gradcheck_fast.losses.problem import Loss


def plot_step_sweep(
    loss: Loss,
    gradient: Tree | Callable[[Tree], Tree],
    params: Tree,
    *,
    methods: Sequence[str] | None = None,
    steps: Sequence[float] | None = None,
    entries: int = 64,
    n_threads: int | None = None,
) -> Figure:
    """Draws the error of the numerical gradient against its step h: a V in plain arithmetic, flat in differences.

    In plain arithmetic a small h loses digits to rounding, and a large h to truncation; the best h is between them. In
    difference arithmetic a small h loses nothing.

    Parameters
    ----------
    loss, gradient, params
        As for `gradcheck`. The gradient should be right: no line can come below its own error.
    methods : sequence of {"direct", "incremental", "units"}, optional
        The default is ``direct``, and for the loss of a `Network` of dense and recurrent layers also ``units``.
    steps : sequence of float, optional
        The default is two steps for each power of ten from 1e-15 to 1.
    entries : int
        How many entries are compared. They are spread evenly over all. ``direct`` is computed for these entries only,
        with two calls of the loss for each entry and step.
    n_threads : int, optional
        As for `gradcheck`.

    Returns
    -------
    matplotlib.figure.Figure
        A figure of `matplotlib.pyplot`.

    Raises
    ------
    ImportError
        If matplotlib is not installed; it is an optional dependency.
    TypeError, ValueError
        If an argument does not fit; the message names it.
    """
    from gradcheck_fast.report.plots import STYLES, draw_step_sweep, pyplot  # a heavy view

    pyplot()  # says so at once if there is no matplotlib
    problem = as_problem(loss)
    if methods is None:
        takes_step = () if isinstance(problem, ProgramLoss) else ("units",)
        methods = tuple(method for method in ("direct", *takes_step) if method in problem.methods)
    for method in methods:
        choose("methods", method, STYLES)
    widths = [number("steps", h, positive=True) for h in (np.logspace(-15, 0, 31) if steps is None else steps)]
    at = problem.pack(params)
    gradient = beside_value(gradient, problem)
    given = gradient(copy(params)) if callable(gradient) else gradient
    analytic = packer(gradient, at)(given).flat
    if not analytic.size:
        raise ValueError("params: there are no entries to compare")
    picked = np.unique(np.linspace(0, analytic.size - 1, integer("entries", entries, positive=True)).astype(np.intp))

    def plain(h: float) -> NDArray[np.float64]:
        return np.array([_slope(lambda theta: problem.cost(at, theta), at.flat, k, h) for k in picked])

    def found(method: str, h: float) -> NDArray[np.float64]:
        if method == "direct":
            return plain(h)
        return problem.central_differences(at, method=method, step=h, runner=Runner(n_threads)).gradient[picked]

    errors = {method: [relative_error(analytic[picked], found(method, h)) for h in widths] for method in methods}
    title = f"Error of the numerical gradient, {len(picked)} of {analytic.size:,} entries"
    return draw_step_sweep(widths, errors, title)


def _slope(cost: Callable[[NDArray[np.float64]], float], theta: NDArray[np.float64], k: int, h: float) -> float:
    """Computes the central difference of one entry as textbooks have it."""
    plus, minus = theta.copy(), theta.copy()
    plus[k] += h
    minus[k] -= h
    return (cost(plus) - cost(minus)) / (2.0 * h)
