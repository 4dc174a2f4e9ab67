"""The loss of a network for users whose samples are columns: ``z = W @ x + b``, with b a column."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.losses.transposed import Transposed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from gradcheck_fast.comparison.results import Comparison
    from gradcheck_fast.inputs.trees import Packed, Shape, Tree
    from gradcheck_fast.losses.network_loss import NetworkLoss
    from gradcheck_fast.numerical.gradient import Numerical


def in_columns(shape: Shape) -> Shape:
    """Returns the shape that an array of a network has where samples are columns: matrices are transposed."""
    return (*shape, 1) if len(shape) == 1 else shape[::-1]


class Columns(Transposed):
    """A network's cost on given data as a function of its matrices transposed, and its vectors as columns.

    Parameters
    ----------
    rows : NetworkLoss
        The loss of the same network, where samples are rows.

    Attributes
    ----------
    rows : NetworkLoss
    """

    def __init__(self, rows: NetworkLoss) -> None:
        shapes = rows.network.shapes
        super().__init__(rows, {name: np.zeros(shape).T for name, shape in shapes.items()}, list(shapes))
        self._shapes = {name: in_columns(shape) for name, shape in shapes.items()}
        self.rows = rows

    @property
    def times(self) -> int:
        """How many times each sample has. Without a recurrent layer it has one."""
        return self.rows.times

    @property
    def directions(self) -> int:
        """Along how many random directions a chained gradient is compared with differences of the cost."""
        return self.rows.directions

    @directions.setter
    def directions(self, count: int) -> None:
        self.rows.directions = count

    def __call__(self, params: Tree) -> float:
        """Gives the cost at these parameters, with the penalty."""
        packed = self.pack(params)
        return self.cost(packed, packed.flat)

    @property
    def has_exact_changes(self) -> bool:
        return self.rows.has_exact_changes

    def change(
        self, theta: NDArray[np.float64], direction: NDArray[np.float64], step: float, n_threads: int = 1
    ) -> float:
        """Gives the exact change of the cost when the flat parameters `theta` move by step times direction."""
        return self.rows.change(self._whole(theta), self._whole(direction), step, n_threads)

    def in_rows(
        self, params: Packed, analytic: Packed, numerical: Numerical, comparison: Comparison
    ) -> tuple[NetworkLoss, Packed, Packed, Numerical, Comparison]:
        """Takes two gradients at some parameters, and what is known of them, to the loss where samples are rows."""
        kinks, excess, bars = numerical.kinks, self._whole(comparison.excess), comparison.bars
        return (
            self.rows,
            self._packed_in_rows(params),
            self._packed_in_rows(analytic),
            numerical._replace(
                gradient=self._whole(numerical.gradient),
                kinks=kinks and kinks._replace(low=self._whole(kinks.low), high=self._whole(kinks.high)),
            ),
            comparison._replace(
                find_excess=partial(np.asarray, excess),
                numerical=self._whole(comparison.numerical),
                bars=None if bars is None else self._whole(bars),
            ),
        )

    def _packed_in_rows(self, packed: Packed) -> Packed:
        return replace(
            packed, join=partial(np.asarray, self._whole(packed.flat)), shapes=dict(self.rows.network.shapes)
        )

    def __repr__(self) -> str:
        return f"{self.rows!r}, in columns"


def arrays_in_columns(rows: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Takes the arrays of a network, by name, to those where samples are columns."""
    return {name: np.ascontiguousarray(array.T).reshape(in_columns(array.shape)) for name, array in rows.items()}


def arrays_in_rows(columns: Packed, shapes: Mapping[str, Shape]) -> dict[str, NDArray[Any]]:
    """Does the inverse of `arrays_in_columns`; `shapes` are those of the network where samples are rows."""
    return {name: array.T.reshape(shapes[name]) for name, array in columns.arrays(columns.flat)}
