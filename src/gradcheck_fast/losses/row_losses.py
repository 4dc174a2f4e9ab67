"""Losses of predictions, row by row, and the second derivative of each by its own prediction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.inputs.random_numbers import generator
from gradcheck_fast.losses.second_differences import SecondDifferences
from gradcheck_fast.numerical.joined import Piece, joined

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.losses.jacobian import Columns
    from gradcheck_fast.numerical.gradient import Numerical

    Reals = NDArray[np.float64]
    Numbers = NDArray[np.intp]

#: Predictions do not act on each other if their second derivatives, found together with two sets of random signs,
#: differ by less than this part.
ALONE = 1e-6


class Total:
    """The sum of a loss over all rows, as a function of the predictions.

    Parameters
    ----------
    loss : callable
        ``loss(predictions, function)`` calls the user's loss, or another version of it.
    users_function : callable
        The user's loss. It gives one number, or one for each row, or for each prediction.
    weights : ndarray of float64, shape (rows,), or None
        By what the losses of the rows are multiplied.
    """

    def __init__(
        self, loss: Callable[[Any, Callable[..., Any]], Any], users_function: Callable[..., Any], weights: Reals | None
    ) -> None:
        self._loss, self.users_function, self._weights = loss, users_function, weights

    def __call__(self, predictions: Any) -> float:
        return float(self.with_function(self.users_function)(predictions))

    def with_function(self, function: Callable[..., Any]) -> Callable[[Any], Any]:
        """Gives the same sum of another version of the loss, as one that records what it does."""
        return lambda predictions: np.sum(self.rows(predictions, function))

    def rows(self, predictions: Any, function: Callable[..., Any] | None = None) -> Any:
        """Gives what the loss gives, times the weights."""
        found = self._loss(predictions, function or self.users_function)
        if self._weights is None:
            return found
        if not np.shape(found)[:1] == self._weights.shape:
            raise ValueError(
                f"loss: it gives the shape {np.shape(found)}, so that rows cannot be weighed; it should give one "
                "number for each row, or take the weights"
            )
        return found * self._weights.reshape(self._weights.shape + (1,) * (np.ndim(found) - 1))


def own_second_derivatives(columns: Columns, groups: Sequence[Numbers], seed: int) -> Numerical:
    """Finds the second derivative of a loss by each prediction, from its gradient.

    Predictions that do not act on each other are moved together.

    Parameters
    ----------
    columns : Columns
        Finds the derivatives of the gradient along directions.
    groups : sequence of ndarray of int
        Predictions that may not act on each other, as those of all rows for one class.
    seed : int
        The seed of random signs.
    """
    scales, size = columns.scales, len(columns.scales)
    rng, pieces = generator(seed), list[Piece]()
    for group in groups:
        first, second = (rng.choice((-1.0, 1.0), len(group)) for _ in range(2))
        found, other = (_moved(columns, group, signs) for signs in (first, second))
        if _agree(found.numerical.gradient[group] * found.factor, other.numerical.gradient[group] * other.factor):
            pieces.append(found)
            continue
        numericals = [columns.column(int(entry)) for entry in group]
        pieces += [
            Piece(numerical, np.array([entry]), np.array([entry]), 1.0 / float(scales[entry]))
            for entry, numerical in zip(group, numericals, strict=True)
        ]
    return joined(pieces, size)


def second_differences_of_rows(
    total: Total, predictions: Reals, unpack: Callable[[Reals], Any], groups: Sequence[Numbers], seed: int
) -> Numerical:
    """Finds the second derivative of a loss by each prediction, from values of the loss.

    If the loss gives a number for each row, or for each prediction, all rows are moved together; otherwise every
    prediction is moved by itself.

    Parameters
    ----------
    total : Total
    predictions : ndarray of float64, shape (size,)
    unpack : callable
        Makes what the loss takes of such a vector.
    groups, seed
        As for `own_second_derivatives`. Each has one prediction of every row.
    """

    def rows(theta: Reals) -> Reals:
        return np.asarray(total.rows(unpack(theta.copy())), np.float64)

    def by_row(theta: Reals) -> Reals:
        return np.asarray(rows(theta).reshape(count, -1).sum(axis=1))

    here, count = rows(predictions), len(groups[0])
    rng, scales, pieces = generator(seed), np.maximum(1.0, np.abs(predictions)), list[Piece]()
    if here.ndim and here.shape[0] == count and here.size in (count, len(predictions)):
        for group in groups:
            first, second = (
                _second_along(by_row, predictions, group, rng.choice((-1.0, 1.0), count) * scales[group])
                for _ in range(2)
            )
            if not _agree(first.gradient, second.gradient):
                pieces.clear()
                break
            pieces.append(Piece(first, np.arange(count), group, 1.0 / scales[group] ** 2))
    if not pieces:
        units, every = np.eye(len(predictions)), np.arange(len(predictions))
        whole = SecondDifferences(lambda theta: np.array([rows(theta).sum()]), predictions)
        pieces = [Piece(whole.along(units, units), every, every)]
    return joined(pieces, len(predictions))


def _second_along(by_row: Callable[[Reals], Reals], predictions: Reals, group: Numbers, lengths: Reals) -> Numerical:
    """Finds the second derivative of the loss of every row, as some predictions are moved by multiples of lengths."""
    direction, one = np.zeros(len(predictions)), np.ones((1, 1))
    direction[group] = lengths
    return SecondDifferences(lambda t: by_row(predictions + t[0] * direction), np.zeros(1)).along(one, one)


def _moved(columns: Columns, group: Numbers, signs: Reals) -> Piece:
    """Moves some predictions together."""
    direction = np.zeros(len(columns.scales))
    direction[group] = signs * columns.scales[group]
    return Piece(columns.along(direction), group, group, signs / columns.scales[group])


def _agree(one: Reals, other: Reals) -> bool:
    """Whether the second derivatives are the same with either set of signs."""
    size = max(float(np.abs(one).max(initial=0.0)), float(np.abs(other).max(initial=0.0)))
    return bool((np.abs(one - other) <= ALONE * size).all())
