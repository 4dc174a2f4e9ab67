"""numerical_gradient(): one door, whatever the loss is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, cast

from .differences import LARGEST_STEP, SMALLEST_STEP
from .errorbars import error_bars as find_error_bars
from .errorbars import reaching_over_kinks
from .functions import FunctionLoss
from .names import number
from .runner import Runner

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .differences import Numerical
    from .progress import Progress
    from .trees import Packed, Tree

#: Any function of the parameters; it may be called with a tree of private arrays, as often as is needed.
Loss: TypeAlias = Callable[[Any], Any]


class Problem(Protocol):
    """What is needed of a loss: a network's compiled loss has it, and `FunctionLoss` gives it to any function."""

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that it knows, besides ``auto``."""

    def pack(self, params: Tree) -> Packed:
        """A tree of parameters as a flat vector."""

    def cost(self, params: Packed, theta: NDArray[np.float64]) -> float:
        """The cost at `theta`, a flat vector like that of `params`."""

    def central_differences(
        self, params: Packed, *, method: str, step: float | None, runner: Runner, kinks: bool = False
    ) -> Numerical:
        """(E(p + h) - E(p - h)) / 2h for every entry of `params`."""


def numerical_gradient(
    loss: Loss,
    params: Tree,
    *,
    method: str = "auto",
    step: float | None = None,
    n_threads: int | None = None,
    progress: Progress = None,
    error_bars: bool = False,
) -> Tree | tuple[Tree, Tree]:
    """The gradient of `loss` at `params` by central differences, (E(p + h) - E(p - h)) / 2h for every entry.

    Parameters
    ----------
    loss : callable
        ``loss(params) -> float``: what `Network.loss` gives, or any Python function.
    params : tree of arrays
        An array, a number, or a dict, list or tuple of such; for a network also one flat vector. Not modified.
    method : {"auto", "units", "incremental", "direct"}
        For a network's loss: ``direct``, two plain forward passes per parameter; ``incremental``, each parameter
        perturbed on its own in difference arithmetic; ``units``, pre-activations perturbed instead of weights.
        ``auto`` is whichever of the last two does less work. For other functions only ``direct`` exists.
    step : float, optional
        h. Default: 2**-40 in difference arithmetic, ∛ε max(1, \\|p\\|) in plain arithmetic.
    n_threads : int, optional
        Default: the CPUs that this process may use. The result does not depend on it.
    progress : bool or callable, optional
        True: a line on stderr. A function is called with the fraction done.
    error_bars : bool
        Whether to find, by a second run, how far each entry may be from the derivative.

    Returns
    -------
    tree like `params`
        Of float64 arrays.
    tree like `params`
        With `error_bars`: a bound on the error of each entry, truncation and rounding; infinite where nothing is known.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit; the message names it. Nothing has been changed then.
    """
    problem = as_problem(loss)
    packed = problem.pack(params)
    numerical = differentiate(problem, packed, method, step, Runner(n_threads, progress), kinks=error_bars)
    if not error_bars:
        return packed.unpack(numerical.gradient)
    gradient, bars = find_error_bars(numerical, packed.shapes)
    return packed.unpack(gradient), packed.unpack(reaching_over_kinks(bars, numerical.kinks))


def differentiate(
    problem: Problem, params: Packed, method: str, step: float | None, runner: Runner, *, kinks: bool = False
) -> Numerical:
    """The gradient as a flat vector, and what else is known of it; see `numerical_gradient`."""
    if method == "directional":
        raise ValueError("method: 'directional' checks a gradient without finding one; it is for gf.gradcheck only")
    step = read_step(step)
    return problem.central_differences(params, method=method, step=step, runner=runner, kinks=kinks)


def read_step(step: object) -> float | None:
    """`step` as a float, if it is not None; an error if it is of no use."""
    if step is None:
        return None
    h = number("step", step, positive=True)
    if not SMALLEST_STEP <= h <= LARGEST_STEP:
        raise ValueError(f"step: expected a number from {SMALLEST_STEP} to {LARGEST_STEP}, got {h}")
    return h


def as_problem(loss: Loss) -> Problem:
    """`loss` itself where it knows how to be differenced, else wrapped."""
    if not callable(loss):
        raise TypeError(f"loss: expected a function of the parameters, got {loss!r}")
    if hasattr(loss, "central_differences") and hasattr(loss, "pack"):
        return cast("Problem", loss)
    return FunctionLoss.of_python(loss)
