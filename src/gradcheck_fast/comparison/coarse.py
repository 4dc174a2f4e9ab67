"""Tells rounding from mistakes in gradients of a coarse dtype, by the gradient that the same code finds in float64."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gradcheck_fast.inputs import _norms

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.inputs.arrays import Precision

#: An entry is right in float64 if it agrees to its error bar and this part of its size, or of what is typical.
_SAME = 1e-6
#: Rounding may move an entry that is right in float64 by this part of its size, or of what is typical of its array.
_MOST_ROUNDING = 0.25
#: An entry is wrong in both dtypes if it moves between them by no more than this part of its error in float64.
_SAME_ERROR = 0.5


def settled(
    own: NDArray[np.float64], numerical: NDArray[np.float64], in_double: NDArray[np.float64],
    bars: NDArray[np.float64], allowance: NDArray[np.float64], kinks: tuple[NDArray[np.float64], NDArray[np.float64]],
    precision: Precision,
) -> NDArray[np.float64]:  # fmt: skip
    """Returns how far entries of an array may be from the numerical gradient, given what they are in float64.

    In bfloat16, a dozen roundings of all that an entry is found from may be as large as the entry. But float64 has none
    of them. Where the entry is right in float64, what remains is rounding, of which up to a quarter of the entry is
    allowed; the entry is decided then. Where it is wrong in float64 by more than a rounding, and by the same amount in
    its own dtype, rounding is not the reason. All others may be off by `allowance`, as without float64.

    Parameters
    ----------
    own, numerical, in_double : ndarray of float64, shape (size,)
        The gradient that is checked, the numerical one, and that of the same code in float64.
    bars, allowance : ndarray of float64, shape (size,)
        The error bars of the numerical gradient, and how far rounding may move the gradient that is checked.
    kinks : pair of ndarray of float64, shape (size,)
        At kinks, the smallest and the largest derivative, less the numerical one.
    precision : Precision
        That of the gradient that is checked.
    """
    low, high = kinks
    size = np.maximum(np.abs(numerical), _norms.root_mean_square(numerical))

    def beyond(given: NDArray[np.float64]) -> NDArray[np.float64]:
        error = given - numerical
        return np.maximum(np.maximum(error - high, low - error), 0.0)

    with np.errstate(invalid="ignore", over="ignore"):
        off, off_in_double = beyond(own), beyond(in_double)
        rounding = bars + np.minimum(allowance, _MOST_ROUNDING * size)
        is_right = (off_in_double <= bars + _SAME * size) & (off <= rounding)
        is_wrong = (off_in_double > bars + precision.eps * size) & (
            np.abs(own - in_double) <= _SAME_ERROR * off_in_double
        )
        return np.where(is_right, rounding, np.where(is_wrong, _SAME_ERROR * off, allowance))
