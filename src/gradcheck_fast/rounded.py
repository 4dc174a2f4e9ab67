"""A Python function in float64, and its gradient in another dtype: how much rounding is due to that gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from .errorbars import typical
from .numerical import CallableLoss
from .trees import Packed, pack_as

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .differences import Numerical

Arrays = dict[str, Any]


class RoundedGradient:
    """A loss whose gradient is found by a function: at parameters moved by a rounding, that shows what rounding does.

    What is zero but for rounding, such as the gradient of a bias before a batch normalisation, can be told in no other
    way from what is wrong.

    Parameters
    ----------
    loss : callable
        Of a dict of float64 arrays.
    gradient : callable
        Of a dict of arrays of the dtypes in which the gradient is checked; gives a dict of arrays.
    params : dict of arrays
        Where it is checked, in these dtypes.
    """

    def __init__(self, loss: Callable[[Arrays], float], gradient: Callable[[Arrays], Arrays], params: Arrays) -> None:
        self._loss = CallableLoss(loss)
        self._gradient = gradient
        self._params = params
        self.pack = self._loss.pack

    def central_differences(self, params: Packed, **options: Any) -> Numerical:
        found = self._loss.central_differences(params, **options)
        return found._replace(roundings=lambda: self._roundings(params))

    def _roundings(self, params: Packed) -> NDArray[np.float64]:
        """How far the gradient changes, in units of a rounding of its dtype."""
        rng = np.random.default_rng(0)
        moved = {name: _moved_by_a_rounding(array, rng) for name, array in self._params.items()}
        here, there = (pack_as(self._gradient(at), params.shapes, finite=False) for at in (self._params, moved))
        change = np.abs(there.flat - here.flat)
        units = [np.full(array.size, np.finfo(array.dtype).eps, np.float64) for array in self._params.values()]
        return np.asarray(np.fmax(change, typical(change, params.shapes)) / np.concatenate(units))


def _moved_by_a_rounding(array: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    """Every number, at random, the next larger or smaller one."""
    towards = np.where(rng.random(array.shape) < 0.5, -np.inf, np.inf).astype(array.dtype)
    return np.asarray(np.nextafter(array, towards))
