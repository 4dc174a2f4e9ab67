"""What the adapters to other libraries share: from their function of their parameters to what can be differenced."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from .arrays import digest
from .compare import relative_error
from .evaluate import Unnoticed
from .functions import python_loss
from .rounded import RoundedGradient
from .trees import Packed, Tree, pack_as, split

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .differences import Numerical
    from .network_loss import NetworkLoss

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


class Unknown(Exception):
    """The compiled engine does not know something; the message says what."""


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


class Transposed:
    """A network's loss as a function of some of its parameters, transposed and in another order.

    Parameters
    ----------
    loss : NetworkLoss
    at : dict of ndarray
        The transposes of all its parameters, by the network's names.
    names : sequence of str
        Those that it is a function of, in the order in which it has them; the others stay as they are.
    """

    def __init__(self, loss: NetworkLoss, at: Arrays, names: Sequence[str]) -> None:
        self._loss = loss
        self._at = np.concatenate([at[name].T.ravel() for name in loss.network.shapes], dtype=np.float64)
        places = dict(split(np.arange(len(self._at)), loss.network.shapes))
        self._order = np.concatenate([places[name].T.ravel() for name in names])
        self._shapes = {name: loss.network.shapes[name][::-1] for name in names}
        self.samples = loss.samples
        self.methods = loss.methods

    def fingerprint(self, params: Packed) -> str:
        return digest(self._loss.fingerprint(params), self._at, self._order)

    def cost(self, params: Packed, theta: NDArray[np.float64], n_threads: int | None = None) -> float:
        whole = self._whole(theta)
        return self._loss.cost(self._loss.pack(whole), whole, n_threads)

    def costs_at(self, params: Packed, n_threads: int) -> Unnoticed:
        return Unnoticed(partial(self.cost, params, n_threads=n_threads))

    def pack(self, params: Tree) -> Packed:
        return pack_as(params, self._shapes)

    def faster(self, method: str, seconds: float, entries: NDArray[np.intp] | None = None) -> str:
        return self._loss.faster(method, seconds, self._of_loss(entries))

    def central_differences(
        self, params: Packed, *, entries: NDArray[np.intp] | None = None, **options: Any
    ) -> Numerical:
        whole = self._loss.pack(self._whole(params.flat))
        return self._loss.central_differences(whole, entries=self._of_loss(entries), **options)

    def _of_loss(self, entries: NDArray[np.intp] | None) -> NDArray[np.intp]:
        """Where the parameters here, or some of them, lie in the network's flat vector."""
        return self._order if entries is None else self._order[entries]

    def _whole(self, part: NDArray[np.float64]) -> NDArray[np.float64]:
        """The network's flat vector, from that of the parameters here."""
        whole = self._at.copy()
        whole[self._order] = part
        return whole
