"""What the adapters to other libraries share: they make a loss that can be differenced of the other library's one."""

from __future__ import annotations

import math
from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from gradcheck_fast.comparison.compare import relative_error
from gradcheck_fast.frontends.numpy_trace.recording import Untraceable
from gradcheck_fast.frontends.numpy_trace.traced_loss import Disagreement
from gradcheck_fast.frontends.unknown import Unknown
from gradcheck_fast.inputs.trees import Packed
from gradcheck_fast.losses.function_loss import python_loss
from gradcheck_fast.losses.problem import OF_PROGRAMS, knows_changes
from gradcheck_fast.losses.rounded_gradient import RoundedGradient

if TYPE_CHECKING:
    from gradcheck_fast.frontends.graphs.graph_loss import GraphLoss
    from gradcheck_fast.losses.network_loss import NetworkLoss
    from gradcheck_fast.losses.transposed import Transposed
    from gradcheck_fast.report.report import Report

#: Arrays by name.
Arrays: TypeAlias = dict[str, Any]

#: Two costs in float64 that differ by less than this, relatively or absolutely, are those of one function.
SAME_FUNCTION = 1e-10
#: If two calls of a loss differ by more than this part of it, it is random. If they differ by less, it has noise, which
#: is measured elsewhere.
_NOISE = 1e-8
#: Two calls of a loss may always differ by this much.
_SMALL = 1e-12

#: A loss is the same in float64 as in its own dtype if the two values differ, relatively, by less than the rounding of
#: that dtype to this power.
_SAME_LOSS = 0.5
#: It is also the same if the two values differ by less than this many times the scatter of the loss.
_SCATTERS = 16.0
#: The scatter is the largest change of the loss in this many trials.
_MOVES = 4
#: In each trial every parameter is moved by this many roundings.
_ROUNDINGS = 4.0

#: What the note says of a loss whose operations were traced. In parentheses follows why it is no `Network`.
TRACED = "differenced by the compiled engine, operation by operation as they ran"
#: What the note says of a loss that a `Network` describes, and that was traced for its lines.
BY_LINES = f"{TRACED} (and not as a network, in which a mistake has no line)"
#: The loss of a network that does what a model of another library does.
Compiled: TypeAlias = "NetworkLoss | Transposed"


def choose_loss(
    describe: Callable[[], Compiled], loss: Callable[[Arrays], float], gradient: Arrays | Packed,
    in_double: Callable[[Arrays], Arrays], params: Arrays, method: str, trace: Callable[[], GraphLoss] | None = None,
) -> tuple[Compiled | RoundedGradient, str]:  # fmt: skip
    """Chooses the loss of a network if one is described that computes the same; else a trace; else the function.

    It returns the loss, and a note that says which it is.

    Parameters
    ----------
    describe : callable
        Gives the loss of the network, or raises `Unknown`.
    loss : callable
        ``loss(arrays)`` gives the loss, computed in float64, for a dict of arrays.
    gradient : dict of arrays, or Packed
        The gradient that is checked.
    in_double : callable
        ``in_double(arrays)`` gives this gradient as the same code computes it in float64.
    params : dict of arrays
        The parameters at which the gradient was taken.
    method : str
        The method that the user wants.
    trace : callable, optional
        Gives the loss with a program of all that the other library computes, or raises any error.

    Raises
    ------
    ValueError
        If the method needs a program and there is none, or the function gives other numbers each time.
    """
    value = loss(params)
    try:
        described = describe()
        at = described.pack(params)
        cost = described.cost(at, at.flat)
        if not math.isclose(value, cost, rel_tol=SAME_FUNCTION, abs_tol=SAME_FUNCTION):
            raise Unknown(f"the network that describes it has the cost {cost:.10g}, not {value:.10g}")
    except Unknown as unknown:
        why = str(unknown)
        if trace is not None and method != "units":
            try:
                traced = trace()
            except Exception as error:
                why = f"{why}; its operations could not be traced: {first_line(error)}"
            else:
                if not _is_noise(value, traced.value):  # the trace is of another call
                    _require_repeatable(value, loss(params))
                return RoundedGradient(traced, gradient, lambda: in_double(params)), f"{TRACED} (as no network: {why})"
        if method in OF_PROGRAMS:
            raise ValueError(f"method: {method!r} is one of the compiled engine, but {why}") from None
        _require_repeatable(value, loss(params))
        problem = RoundedGradient(python_loss(InTurn(loss)), gradient, lambda: in_double(params))
        return problem, f"differenced as a Python function: {why}"
    way = "differenced by the compiled engine, which knows all layers and the loss"
    if isinstance(gradient, Packed) and gradient.computed_in.is_coarse:  # hardly anything is known of its rounding
        return RoundedGradient(described, gradient, lambda: in_double(params)), way
    return described, way


def loss_by_lines(
    trace: Callable[[], GraphLoss], gradient: Arrays | Packed, in_double: Callable[[], Arrays]
) -> RoundedGradient | None:
    """Gives a loss with the lines in which a mistake can be looked for, or None if it cannot be traced.

    The layers of a `Network` have none.
    """
    try:
        return RoundedGradient(trace(), gradient, in_double)
    except Exception:  # whatever it is, there is the network
        return None


def way_of(report: Report, loss: Compiled | RoundedGradient, way: str) -> str:
    """Returns the note of `choose_loss` that is true of a report on a loss, whose trace may not have been used."""
    has_used_trace = report.method != "direct" and (report.method != "directional" or knows_changes(loss))
    return way if has_used_trace or not way.startswith(TRACED) else "differenced as a Python function"


def _is_noise(value: float, again: float) -> bool:
    """Tells whether two calls of a loss give values that differ by no more than noise."""
    return math.isclose(value, again, rel_tol=_NOISE, abs_tol=_SMALL) or math.isnan(value)


def _require_repeatable(value: float, again: float) -> None:
    """Raises a ValueError if two calls of a loss give values that differ by more than noise."""
    if not _is_noise(value, again):
        raise ValueError(
            f"the loss is {value:.10g} at first and {again:.10g} the next time, at the same parameters; without "
            "what is random in it, such as Dropout, it can be checked (in PyTorch: module.eval())"
        ) from None


def same_loss(own: float, in_double: float, eps: float, value: Callable[[Arrays], Any], params: Arrays) -> bool:
    """Tells whether a loss is the same in float64 as in its own dtype, but for roundings.

    Parameters
    ----------
    own, in_double : float
        The values of the loss, in its own dtype and in float64.
    eps : float
        The rounding of the coarsest numbers that the loss computes with in its own dtype.
    value : callable
        The loss in its own dtype. It is called only if the two values differ by more than is usual.
    params : dict of arrays
        The parameters at which both values were found.
    """
    difference = abs(in_double - own)
    if difference <= eps**_SAME_LOSS * abs(in_double) or not math.isfinite(difference):
        return True
    rng, scatter = np.random.default_rng(0), 0.0
    for _ in range(_MOVES):
        factors = {name: 1.0 + eps * rng.choice((-_ROUNDINGS, _ROUNDINGS), np.shape(a)) for name, a in params.items()}
        moved = {name: np.asarray(array * factors[name], array.dtype) for name, array in params.items()}
        scatter = max(scatter, abs(float(value(moved)) - own))
    return difference <= _SCATTERS * scatter


def require_same_gradient(values: tuple[float, float], gradients: tuple[Arrays, Arrays], eps: float, how: str) -> None:
    """Raises an error if the gradients show that the loss is another one in float64.

    The values of the loss alone do not show it: a loss in which terms cancel has few digits in its own dtype, but its
    gradient need not have lost any.

    Parameters
    ----------
    values : tuple of float
        The loss in its own dtype, and in float64.
    gradients : tuple of dict of arrays
        Its gradient in its own dtype, and in float64.
    eps : float
        The rounding of its own dtype.
    how : str
        What users can do to check the loss in float64 alone.

    Raises
    ------
    ValueError
    """
    if relative_error(*gradients) > eps**_SAME_LOSS:
        own, in_double = values
        raise ValueError(
            f"the loss is {own:.10g} in its own dtype but {in_double:.10g} in float64, at the same parameters, and "
            "float64 is what the gradient is compared with. It may draw other random numbers there, or do something "
            f"else for other dtypes; check it in float64 alone, by {how}"
        )


def first_line(error: Exception) -> str:
    """Says in a line why something could not be traced."""
    said = str(error).partition("\n")[0]
    return said if isinstance(error, (Untraceable, Disagreement)) else f"{type(error).__name__} was raised: {said}"


class InTurn:
    """A function that threads may call at once, but that runs for one after another.

    That is for functions that set the parameters of a module or an estimator, of which there is only one.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._lock = Lock()

    def __call__(self, *arguments: Any) -> Any:
        with self._lock:
            return self._function(*arguments)

    def __reduce__(self) -> tuple[type[InTurn], tuple[Callable[..., Any]]]:
        return InTurn, (self._function,)
