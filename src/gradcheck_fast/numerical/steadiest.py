"""Chooses among differences with smaller and smaller steps those that all smaller steps confirm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Reals = NDArray[np.float64]

#: An error bar is this many times what smaller steps change.
CHANGES = 3.0


def steadiest(values: Reals, noise: Reals) -> tuple[Reals, Reals]:
    """Returns derivatives with error bars, of those with several steps.

    The error of a derivative is what the next smaller step changes in it, or any smaller one beyond its noise, and its
    own noise: with steps that are too large for a function, neighbouring ones may agree by chance, but not all of them.

    Parameters
    ----------
    values : ndarray of float64, shape (steps, size)
        Derivatives with smaller and smaller steps; NaN where the function is not defined.
    noise : ndarray of float64, shape (steps, size)
        How far rounding may move them.

    Returns
    -------
    derivatives, bars : ndarray of float64, shape (size,)
        Those with the narrowest bars; infinite where there is none. The smallest step is not chosen, for nothing
        confirms it.
    """
    errors = confirmed_errors(values, noise)
    errors[~np.isfinite(errors)] = np.inf
    best, every = np.argmin(errors, axis=0), np.arange(values.shape[1])
    return values[best, every], errors[best, every]


def confirmed_errors(values: Reals, noise: Reals) -> Reals:
    """Returns the error bar of every derivative with each step but the smallest; see `steadiest`.

    Parameters
    ----------
    values, noise : ndarray of float64, shape (steps, size)

    Returns
    -------
    ndarray of float64, shape (steps - 1, size)
    """
    errors = np.empty((len(values) - 1, values.shape[1]))
    for k, own in enumerate(errors):
        with np.errstate(invalid="ignore", over="ignore"):
            changes = np.abs(values[k] - values[k + 1 :])
            changes[1:] = np.maximum(changes[1:] - noise[k + 2 :], 0.0)
            own[:] = CHANGES * changes.max(axis=0) + noise[k]
    return errors
