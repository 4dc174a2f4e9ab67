"""A network's loss under other names: those that another library has for its parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .trees import Packed, Tree, pack_as, split

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .differences import Numerical
    from .network import Network, NetworkLoss


def places(network: Network) -> dict[str, NDArray[np.intp]]:
    """For each array of a network, where its entries lie in the flat vector: an array of its shape."""
    shapes = network.shapes
    return dict(split(np.arange(sum(int(np.prod(shape)) for shape in shapes.values())), shapes))


class Relabelled:
    """A network's loss as a function of parameters that are named, shaped and ordered otherwise.

    Parameters
    ----------
    loss : NetworkLoss
    at : ndarray, shape (size,)
        All parameters of the network, in its own order. Those that are nowhere in `where` stay as they are here.
    where : dict of ndarray of int
        For each array, by its other name and in its other shape, where its entries lie in the network's flat vector:
        each in another place.
    """

    def __init__(self, loss: NetworkLoss, at: NDArray[np.float64], where: Mapping[str, NDArray[np.intp]]) -> None:
        self._loss = loss
        self._at = at
        self._shapes = {name: index.shape for name, index in where.items()}
        self._order = np.concatenate([index.ravel() for index in where.values()])
        self.network, self.samples = loss.network, loss.samples

    def __call__(self, params: Tree) -> float:
        return self._loss(self._theirs_to_ours(self.pack(params).flat))

    def pack(self, params: Tree) -> Packed:
        return pack_as(params, self._shapes)

    def central_differences(self, params: Packed, **options: Any) -> Numerical:
        found = self._loss.central_differences(self._loss.pack(self._theirs_to_ours(params.flat)), **options)
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
