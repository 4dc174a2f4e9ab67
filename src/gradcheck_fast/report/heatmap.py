"""Where the errors of an array are, in few enough cells for a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gradcheck_fast.inputs.trees import as_matrix_shape, split

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.comparison.results import ArrayResult
    from gradcheck_fast.report.findings import Findings


class HeatMap(NamedTuple):
    """The errors of one array, seen as a matrix.

    Attributes
    ----------
    array : ArrayResult
    extent : tuple of int
        Rows and columns of the matrix: the array's first axes and its last ones.
    cells : ndarray, shape (rows, columns)
        log10(error / tolerance), above 0 for a wrong entry; each cell the largest of those it stands for. -inf where
        there is no error, or where it was not looked for, NaN where an entry is not finite.
    """

    array: ArrayResult
    extent: tuple[int, int]
    cells: NDArray[np.float64]


def heat_maps(report: Findings, most: int, *, cells: tuple[int, int]) -> list[HeatMap]:
    """The heat maps of the `most` arrays with the largest errors, in the order of the gradient.

    Parameters
    ----------
    report : Findings
    most : int
    cells : tuple of int
        At most this many rows and columns each: larger arrays are reduced by maximum, so that no wrong entry is lost.
    """
    analytic, numerical = report._flat
    unknown = report._excess == -np.inf
    error = np.where(np.isfinite(analytic) & np.isfinite(numerical), report._excess, np.nan)
    error[unknown & np.isfinite(analytic)] = 0.0
    parts = split(error, {array.name: array.shape for array in report.arrays})
    drawn = [(array, part) for array, (_, part) in zip(report.arrays, parts, strict=True) if part.size]
    largest = [np.inf if np.isnan(part).any() else part.max() for _, part in drawn]
    shown = sorted(np.argsort(np.negative(largest), kind="stable")[:most])
    return [_heat_map(*drawn[k], most=cells) for k in shown]


def _heat_map(array: ArrayResult, error: NDArray[np.float64], *, most: tuple[int, int]) -> HeatMap:
    extent = as_matrix_shape(array.shape)
    cells = error.reshape(extent)
    for axis, (size, limit) in enumerate(zip(extent, most, strict=True)):
        if size > limit:
            cells = np.maximum.reduceat(cells, np.arange(limit) * size // limit, axis=axis)  # NaN is the maximum
    with np.errstate(divide="ignore"):
        return HeatMap(array, extent, np.log10(cells))
