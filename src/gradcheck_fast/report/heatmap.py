"""Reduces the errors of an array to few enough cells for a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gradcheck_fast.inputs.arrays import as_matrix_shape
from gradcheck_fast.inputs.trees import split

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.comparison.results import ArrayResult
    from gradcheck_fast.report.findings import Findings


class HeatMap(NamedTuple):
    """The errors of one array, seen as a matrix.

    Attributes
    ----------
    array : ArrayResult
        The result of the array.
    extent : tuple of int
        The numbers of rows and columns of the matrix: the array's first axes and its last ones.
    cells : ndarray of float64, shape (rows, columns)
        log10(error / tolerance), which is above 0 for a wrong entry. A cell has the largest of the entries that it
        stands for: -inf if there is no error, or none was looked for, and NaN if an entry is not finite.
    """

    array: ArrayResult
    extent: tuple[int, int]
    cells: NDArray[np.float64]


def heat_maps(report: Findings, most: int, *, cells: tuple[int, int]) -> list[HeatMap]:
    """Returns the heat maps of the `most` arrays with the largest errors, in the order of the gradient.

    Parameters
    ----------
    report : Findings
        What was found.
    most : int
        How many heat maps are made, at most.
    cells : tuple of int
        How many rows and columns each of them has, at most. The cells of a larger array are the maxima of several
        entries, so that no wrong entry is lost.
    """
    analytic, numerical = report._flat
    error = np.where(np.isfinite(analytic) & np.isfinite(numerical), report._excess, np.nan)
    error[~report._compared & np.isfinite(analytic)] = 0.0
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
            cells = np.maximum.reduceat(cells, np.arange(limit) * size // limit, axis=axis)  # NaN counts as the maximum
    with np.errstate(divide="ignore"):
        return HeatMap(array, extent, np.log10(cells))
