"""Gradients from updates: what parameters were before a step, minus what they are after it, over the learning rate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

#: Arrays by name.
Arrays: TypeAlias = Mapping[str, NDArray[np.floating]]
#: Updates at two learning rates are proportional if they agree to this many roundings of what they are found from.
_ROUNDINGS = 256.0
#: Two gradients, or updates, are equal if they differ by less than this part of the largest entry.
EQUAL = 1e-9
#: No learning rate above this is tried.
_LARGEST_RATE = 2.0**40
#: Entries of an update are of one size if they differ by less than this part of it.
_ONE_SIZE = 1e-3
#: Of fewer entries that are of one size nothing is concluded.
_FEWEST = 4


def learning_rate(what: str, update: Callable[[float], Arrays], before: Arrays) -> float:
    """Chooses a learning rate at which an update is large beside the parameters, so that rounding hides none of it.

    Parameters
    ----------
    what : str
        What the step is called in errors.
    update : callable
        ``update(rate)`` makes one step from the same parameters, and returns before - after, by array.
    before : dict of ndarray
        The parameters.

    Raises
    ------
    ValueError
        If the update is not proportional to the learning rate, or all its entries are of one size: then before - after
        is no gradient. The message names the array.
    """
    one, two = update(1.0), update(2.0)
    for name, first in one.items():
        second = two[name]
        scale = np.abs(before[name]) + np.abs(second) if np.size(first) else np.zeros(())
        eps = float(np.finfo(np.asarray(before[name]).dtype).eps)
        apart = np.abs(second - 2.0 * first)
        if not (apart <= _ROUNDINGS * eps * np.max(scale, initial=0.0)).all():
            raise ValueError(
                f"{what}: its update of {name} at learning rate 2 is not twice that at 1. It is no multiple of a "
                "gradient: it may go on with a parameter that it has already updated, make several updates in one "
                "call, one for each sample, or divide by the size of the gradient. Let it find all gradients first, "
                "and then make one update of plain gradient descent"
            )
    sizes = np.concatenate([np.abs(np.ravel(first)) for first in one.values()] or [np.zeros(0)])
    moved = sizes[sizes > 0.0]
    if len(moved) >= _FEWEST and moved.max() - moved.min() <= _ONE_SIZE * moved.max():
        raise ValueError(
            f"{what}: all entries of its update have the same size, {moved.max():.3g} at learning rate 1, as those of "
            "Adam or of the gradient's sign have: no gradient can be found from it. Let it make one update of plain "
            "gradient descent"
        )
    rate = 1.0
    for name, first in one.items():
        typical = float(np.sqrt(np.mean(np.square(first)))) if np.size(first) else 0.0
        largest = float(np.max(np.abs(before[name]), initial=0.0))
        if 0.0 < typical < largest:
            rate = max(rate, min(_LARGEST_RATE, 2.0 ** np.ceil(np.log2(largest / typical))))
    return rate


def are_equal(one: NDArray[np.floating], other: NDArray[np.floating], part: float = EQUAL) -> bool:
    """Tells whether two gradients or updates are equal, to a part of the largest entry; NaN equals NaN."""
    size = np.max(np.abs(one), initial=0.0, where=np.isfinite(one))
    return one.shape == other.shape and bool(np.allclose(one, other, rtol=part, atol=part * size, equal_nan=True))
