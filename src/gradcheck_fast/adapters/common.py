"""What the adapters to other libraries share: from their function of their parameters to what can be differenced."""

from __future__ import annotations

import math
from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from gradcheck_fast.comparison.compare import relative_error
from gradcheck_fast.frontends.unknown import Unknown
from gradcheck_fast.inputs.trees import Packed
from gradcheck_fast.losses.function_loss import python_loss
from gradcheck_fast.losses.rounded_gradient import RoundedGradient

if TYPE_CHECKING:
    from gradcheck_fast.losses.network_loss import NetworkLoss
    from gradcheck_fast.losses.transposed import Transposed

#: Arrays by name.
Arrays: TypeAlias = dict[str, Any]

#: Costs of the same function, found in float64 in two ways, differ by less.
SAME_FUNCTION = 1e-10
#: A loss that is another by less from call to call is noisy: how noisy, is measured. One by more is random.
_NOISE, _SMALL = 1e-8, 1e-12

#: A loss is the same in float64 as in its own dtype if they differ, relatively, by less than this power of a rounding
#: of that; or by so many times what it changes where the parameters are moved so often by so many roundings.
_SAME_LOSS, _SCATTERS, _MOVES, _ROUNDINGS = 0.5, 16.0, 4, 4.0

#: The loss of a network that describes what another library has.
Compiled: TypeAlias = "NetworkLoss | Transposed"


def choose_loss(
    describe: Callable[[], Compiled], loss: Callable[[Arrays], float], gradient: Arrays | Packed,
    in_double: Callable[[Arrays], Arrays], params: Arrays, method: str,
) -> tuple[Compiled | RoundedGradient, str]:  # fmt: skip
    """A network's loss, if a network is described and computes the same, else the Python function; and a note on it.

    Parameters
    ----------
    describe : callable
        Gives the network's loss, or raises `Unknown`.
    loss : callable
        Of a dict of arrays, in float64.
    gradient : dict of arrays, or Packed
        What is checked.
    in_double : callable
        Of a dict of arrays; gives the same gradient, found in float64.
    params : dict of arrays
        Where the gradient was taken.
    method : str
        The user's choice.

    Raises
    ------
    ValueError
        If the method is one for networks only, or the function gives other numbers each time.
    """
    value = loss(params)
    try:
        described = describe()
        at = described.pack(params)
        cost = described.cost(at, at.flat)
        if not math.isclose(value, cost, rel_tol=SAME_FUNCTION, abs_tol=SAME_FUNCTION):
            raise Unknown(f"the network that describes it has the cost {cost:.10g}, not {value:.10g}")
    except Unknown as unknown:
        if method in ("units", "incremental"):
            raise ValueError(f"method: {method!r} is one of the compiled engine, but {unknown}") from None
        again = loss(params)
        if not (math.isclose(value, again, rel_tol=_NOISE, abs_tol=_SMALL) or math.isnan(value)):
            raise ValueError(
                f"the loss is {value:.10g} at first and {again:.10g} the next time, at the same parameters; without "
                "what is random in it, such as Dropout, it can be checked (in PyTorch: module.eval())"
            ) from None
        problem = RoundedGradient(python_loss(InTurn(loss)), gradient, lambda: in_double(params))
        return problem, f"differenced as a Python function: {unknown}"
    way = "differenced by the compiled engine, which knows all layers and the loss"
    if isinstance(gradient, Packed) and gradient.computed_in.is_coarse:  # hardly anything is known of its rounding
        return RoundedGradient(described, gradient, lambda: in_double(params)), way
    return described, way


def same_loss(own: float, in_double: float, eps: float, value: Callable[[Arrays], Any], params: Arrays) -> bool:
    """Whether a loss is the same in float64 as in its own dtype, but for roundings.

    Parameters
    ----------
    own, in_double : float
        Its values, in its own dtype and in float64.
    eps : float
        The rounding of what it computes in.
    value : callable
        It, in its own dtype; called where the two differ by more than what is usual.
    params : dict of arrays
        Where both were found.
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
    """An error for a loss that is another in float64, as its gradient shows; each of both is given in both dtypes.

    A loss that cancels has a few digits in its own dtype; its gradient need not lose any.

    Raises
    ------
    ValueError
        It says `how` to check the loss in float64 alone.
    """
    if relative_error(*gradients) > eps**_SAME_LOSS:
        own, in_double = values
        raise ValueError(
            f"the loss is {own:.10g} in its own dtype but {in_double:.10g} in float64, at the same parameters, and "
            "float64 is what the gradient is compared with. It may draw other random numbers there, or do something "
            f"else for other dtypes; check it in float64 alone, by {how}"
        )


class InTurn:
    """A function that threads call one after another: there is one module or estimator, whose parameters it sets."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._lock = Lock()

    def __call__(self, *arguments: Any) -> Any:
        with self._lock:
            return self._function(*arguments)

    def __reduce__(self) -> tuple[type[InTurn], tuple[Callable[..., Any]]]:
        return InTurn, (self._function,)
