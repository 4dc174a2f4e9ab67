"""What the adapters to other libraries share: from their function of their parameters to what can be differenced."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from .numerical import CallableLoss
from .rounded import RoundedGradient
from .trees import Packed, Tree, pack_as, split

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .differences import Numerical
    from .network import NetworkLoss

#: Arrays by name.
Arrays: TypeAlias = dict[str, Any]

#: Costs of the same function, found in float64 in two ways, differ by less.
_SAME_COST = 1e-10


class Unknown(Exception):
    """The compiled engine does not know something; the message says what."""


def choose_loss(
    describe: Callable[[], Relabelled], loss: Callable[[Arrays], float], gradient: Arrays,
    in_double: Callable[[Arrays], Arrays], params: Arrays, method: str,
) -> tuple[Relabelled | RoundedGradient, str]:  # fmt: skip
    """A network's loss, if a network is described and computes the same, else the Python function; and a note on it.

    Parameters
    ----------
    describe : callable
        Gives the network's loss, or raises `Unknown`.
    loss : callable
        Of a dict of arrays, in float64.
    gradient : dict of arrays
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
        cost = described(params)
        if not math.isclose(value, cost, rel_tol=_SAME_COST, abs_tol=_SAME_COST):
            raise Unknown(f"the network that describes it has the cost {cost:.10g}, not {value:.10g}")
    except Unknown as unknown:
        if method in ("units", "incremental"):
            raise ValueError(f"method: {method!r} is one of the compiled engine, but {unknown}") from None
        again = loss(params)
        if again != value and not math.isnan(value):
            raise ValueError(
                f"the loss is {value:.10g} at first and {again:.10g} the next time, at the same parameters; without "
                "what is random in it, such as Dropout, it can be checked (in PyTorch: module.eval())"
            ) from None
        problem = RoundedGradient(CallableLoss(loss), gradient, lambda: in_double(params))
        return problem, f"differenced as a Python function: {unknown}"
    return described, "differenced by the compiled engine, which knows all layers and the loss"


class Relabelled:
    """A network's loss as a function of parameters that another library names, shapes and orders.

    Parameters
    ----------
    loss : NetworkLoss
    at : ndarray, shape (size,)
        All parameters of the network, in its own order. Those that are not in `names` stay as they are here.
    names : dict
        The network's name of each array, by the other name, in the other order.
    transposed : bool
        Whether the others are the transposes of the network's.
    """

    def __init__(self, loss: NetworkLoss, at: NDArray[np.float64], names: Mapping[str, str], transposed: bool) -> None:
        self.loss, self.samples = loss, loss.samples
        self._at = at
        places = dict(split(np.arange(len(at)), loss.network.shapes))
        theirs = {name: places[own].T if transposed else places[own] for name, own in names.items()}
        self._shapes = {name: index.shape for name, index in theirs.items()}
        self._order = np.concatenate([index.ravel() for index in theirs.values()])

    def __call__(self, params: Tree) -> float:
        return self.loss(self._theirs_to_ours(self.pack(params).flat))

    def pack(self, params: Tree) -> Packed:
        return pack_as(params, self._shapes)

    def central_differences(self, params: Packed, **options: Any) -> Numerical:
        found = self.loss.central_differences(self.loss.pack(self._theirs_to_ours(params.flat)), **options)
        kinks = found.kinks and found.kinks._replace(
            low=found.kinks.low[self._order], high=found.kinks.high[self._order]
        )
        return found._replace(
            gradient=found.gradient[self._order],
            again=lambda times: found.again(times)[self._order],
            noise=lambda: self._ours_to_theirs(found.noise()),
            roundings=lambda: self._ours_to_theirs(found.roundings()),
            kinks=kinks,
        )

    def _theirs_to_ours(self, theirs: NDArray[np.float64]) -> NDArray[np.float64]:
        ours = self._at.copy()
        ours[self._order] = theirs
        return ours

    def _ours_to_theirs(self, ours: float | NDArray[np.float64]) -> float | NDArray[np.float64]:
        return ours[self._order] if isinstance(ours, np.ndarray) else ours
