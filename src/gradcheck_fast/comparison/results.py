"""What a comparison found: array by array, entry by entry, and in blocks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: How many stretches of rows, or of columns, a block's label names, at most: more would not fit into a line.
_MOST_STRETCHES = 6


class Entry(NamedTuple):
    """One entry of a gradient, in both versions.

    Attributes
    ----------
    array : str
        The name of its array.
    index : tuple of int
        Its place in the array.
    analytic, numerical : float
        The number in the gradient that is checked, and the one found by differences.
    """

    array: str
    index: tuple[int, ...]  # type: ignore[assignment]  # shadows tuple.index
    analytic: float
    numerical: float


class Block(NamedTuple):
    """A block of an array in which more entries are wrong than are listed one by one.

    It consists of the entries that lie in one of `rows` and in one of `columns`. An array of three or more axes is seen
    as the matrix that is nearest to a square, a vector as one row.

    Attributes
    ----------
    rows, columns : tuple of (int, int)
        Stretches of rows, and of columns, each as the first and the one after the last.
    extent : tuple of int
        The numbers of rows and columns of the whole array.
    drawn : int
        How many entries of the block were drawn at random and differenced one by one.
    wrong : int
        How many of these were wrong.
    """

    rows: tuple[tuple[int, int], ...]
    columns: tuple[tuple[int, int], ...]
    extent: tuple[int, int]
    drawn: int
    wrong: int

    @property
    def size(self) -> int:
        """The number of entries in the block."""
        return _total(self.rows) * _total(self.columns)

    @property
    def estimate(self) -> int:
        """An estimate of how many entries are wrong: the share among those that were drawn, but at least one entry."""
        return max(1, round(self.size * self.wrong / max(self.drawn, 1)))

    @property
    def label(self) -> str:
        """Where the block is, such as ``rows 4-7 x column 2``; empty if it is the whole array."""
        sides = zip(("row", "column"), (self.rows, self.columns), self.extent, strict=True)
        return " x ".join(_side(what, found) for what, found, extent in sides if _total(found) < extent)

    @property
    def evidence(self) -> str:
        """What the entries that were drawn from the block tell, in words."""
        if not self.drawn:
            return "something is wrong there"
        if self.drawn == self.size == self.wrong:
            return f"all of its {self.size} entries are wrong"
        share = "all" if self.wrong == self.drawn else "none" if not self.wrong else f"{self.wrong}"
        return f"{share} of {self.drawn} entries drawn at random {'is' if self.wrong == 1 else 'are'} wrong"

    def to_dict(self) -> dict[str, Any]:
        """The block as plain numbers, strings, lists and dicts."""
        return {
            "label": self.label,
            "rows": [list(stretch) for stretch in self.rows],
            "columns": [list(stretch) for stretch in self.columns],
            "extent": list(self.extent),
            "size": self.size,
            "drawn": self.drawn,
            "wrong": self.wrong,
        }


def _total(stretches: tuple[tuple[int, int], ...]) -> int:
    return sum(end - begin for begin, end in stretches)


def _side(what: str, stretches: tuple[tuple[int, int], ...]) -> str:
    parts = [f"{begin}" if end == begin + 1 else f"{begin}-{end - 1}" for begin, end in stretches]
    if len(parts) > _MOST_STRETCHES:
        parts = [*parts[:_MOST_STRETCHES], f"and {len(parts) - _MOST_STRETCHES} more"]
    return f"{what}{'s' * (_total(stretches) > 1)} {', '.join(parts)}"


class Drawn(NamedTuple):
    """Entries of one array that were differenced one by one.

    Attributes
    ----------
    array : str
        The name of the array.
    params, analytic, numerical : ndarray of float64, shape (entries,) or (entries, 1)
        The parameter, the analytic and the numerical derivative of each entry. They are columns if the array is a
        matrix.
    """

    array: str
    params: NDArray[np.float64]
    analytic: NDArray[np.float64]
    numerical: NDArray[np.float64]


@dataclass(frozen=True)
class ArrayResult:
    """How one array of the analytic gradient, a, compares with the numerical gradient, n.

    Attributes
    ----------
    name : str
        The name of the array.
    shape : tuple of int
        Its shape.
    relative_error : float
        ‖a − n‖ / ‖a + n‖ over the entries that were compared; with ``method="directional"`` an estimate for the array.
    largest_error : float
        The largest \\|a − n\\| among the entries that were compared one by one.
    wrong : int
        How many entries are beyond the tolerance, or not finite in the analytic gradient.
    size : int
        How many entries the array has.
    rtol, atol : float
        The tolerance: an entry is right if ``|a - n| <= atol + rtol * max(|a|, |n|)``. By default its error bar is
        added, and the error that rounding in the dtype of the analytic gradient may make.
    at_kink : int
        How many entries are right because they lie at a kink, and the analytic number is one of the slopes there.
    inconclusive : int
        How many entries cannot be decided: their error bar, or the rounding due to the gradient's dtype, is too wide,
        or their numerical gradient is not finite. It is 0 if the array is `empty`.
    empty : bool
        Whether there is nothing to check. Each entry of the numerical gradient is then zero, less than its error bar,
        or at a kink; and all bars are next to nothing beside the whole gradient, so nothing can be wrong by much.
    drawn : int, optional
        How many entries were compared, as they were drawn at random, or others are fixed; None if all were.
    power : float, optional
        The relative size from which on an error in this array would have been seen, as no tolerance allows it: relative
        to ‖n‖; and with ``method="directional"``, relative to ‖a‖, with the stated probability, and in a wrong array
        outside of what was found. None where all agrees to some roundings of float64.
    entries : tuple of tuple of int
        With ``method="directional"``: the indices of the wrong entries that were found one by one.
    blocks : tuple of Block
        With ``method="directional"``: the parts of the array in which more entries are wrong than can be listed.
    """

    name: str
    shape: tuple[int, ...]
    relative_error: float
    largest_error: float
    wrong: int
    size: int
    rtol: float
    atol: float
    at_kink: int = 0
    inconclusive: int = 0
    empty: bool = False
    drawn: int | None = None
    power: float | None = None
    entries: tuple[tuple[int, ...], ...] = ()
    blocks: tuple[Block, ...] = ()

    @property
    def checked(self) -> int:
        """The number of entries that were compared."""
        return self.size if self.drawn is None else self.drawn

    @property
    def estimated(self) -> bool:
        """Whether `wrong` is an estimate: of a block none was drawn, or not all that were drawn are wrong."""
        return any(block.wrong < block.drawn or not block.drawn for block in self.blocks)

    @property
    def status(self) -> str:
        """``"right"``, ``"wrong"``, ``"inconclusive"``, ``"nothing to check"``, or ``"not checked"``: all is fixed."""
        if self.wrong:
            return "wrong"
        if self.drawn == 0 and self.size:
            return "not checked"
        if self.empty:
            return "nothing to check"
        return "inconclusive" if self.inconclusive else "right"


class Comparison(NamedTuple):
    """What a comparison has found.

    Attributes
    ----------
    arrays : tuple of ArrayResult
        The result of each array, in order.
    relative_error : float
        ‖a − n‖ / ‖a + n‖ over the whole gradient.
    find_excess : callable
        Returns `excess`, which is computed when it is asked for.
    numerical : ndarray of float64, shape (size,)
        The gradient that was compared with.
    bars : ndarray of float64, shape (size,), or None
        Its error bars; None if they were not needed.
    """

    arrays: tuple[ArrayResult, ...]
    relative_error: float
    find_excess: Callable[[], NDArray[np.float64]]
    numerical: NDArray[np.float64]
    bars: NDArray[np.float64] | None

    @property
    def excess(self) -> NDArray[np.float64]:
        """The error of each entry divided by its tolerance, shape (size,): above 1 it is wrong."""
        return self.find_excess()


def known(excess: NDArray[np.float64]) -> Callable[[], NDArray[np.float64]]:
    """Returns a function that returns these numbers, and that can be pickled."""
    return partial(np.asarray, excess)
