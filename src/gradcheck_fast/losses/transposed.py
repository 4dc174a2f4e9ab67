"""The loss of a network for users whose matrices are transposed and in another order, as those of PyTorch are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.inputs.arrays import digest
from gradcheck_fast.inputs.trees import Packed, Tree, pack_as, split
from gradcheck_fast.numerical.evaluate import OwnCost

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.losses.network_loss import NetworkLoss
    from gradcheck_fast.numerical.gradient import Numerical


class Transposed:
    """A network's loss as a function of some of its parameters, transposed and in another order.

    Parameters
    ----------
    loss : NetworkLoss
    at : dict of ndarray
        The transposes of all parameters of the network, by its names.
    names : sequence of str
        The names of the parameters that this is a function of, in its order. The others stay as they are.
    """

    def __init__(self, loss: NetworkLoss, at: Mapping[str, Any], names: Sequence[str]) -> None:
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

    def costs_at(self, params: Packed, n_threads: int) -> OwnCost:
        return OwnCost(partial(self.cost, params, n_threads=n_threads))

    def pack(self, params: Tree) -> Packed:
        return pack_as(params, self._shapes)

    def faster(self, method: str, seconds: float, entries: NDArray[np.intp] | None = None) -> str:
        return self._loss.faster(method, seconds, self._of_loss(entries))

    def central_differences(
        self, params: Packed, *, entries: NDArray[np.intp] | None = None, **options: Any
    ) -> Numerical:
        whole = self._loss.pack(self._whole(params.flat))
        return self._loss.central_differences(whole, entries=self._of_loss(entries), **options)

    def in_network(
        self, theta: NDArray[np.float64], *others: NDArray[Any]
    ) -> tuple[NetworkLoss, NDArray[np.float64], tuple[NDArray[Any], ...]]:
        """Gives the network's loss, its flat parameters, and other vectors in their order, with 0 for the rest."""
        return self._loss, self._whole(theta), tuple(self._scattered(other) for other in others)

    def _scattered(self, part: NDArray[Any]) -> NDArray[Any]:
        whole = np.zeros(len(self._at), part.dtype)
        whole[self._order] = part
        return whole

    def _of_loss(self, entries: NDArray[np.intp] | None) -> NDArray[np.intp]:
        """Gives the places in the network's flat vector of the parameters here, or of some of them."""
        return self._order if entries is None else self._order[entries]

    def _whole(self, part: NDArray[np.float64]) -> NDArray[np.float64]:
        """Makes the network's flat vector from that of the parameters here."""
        whole = self._at.copy()
        whole[self._order] = part
        return whole
