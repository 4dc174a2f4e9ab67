"""What a comparison found: array by array, entry by entry, and in blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Entry(NamedTuple):
    """One entry of the gradient, as both sides have it."""

    array: str
    index: tuple[int, ...]  # type: ignore[assignment]  # shadows tuple.index
    analytic: float
    numerical: float


class Block(NamedTuple):
    """Rows and columns of an array between which more is wrong than is listed entry by entry.

    Attributes
    ----------
    rows, columns : tuple of (int, int)
        Stretches of them, each from the first to one beyond the last. An array of more axes is seen as the matrix that
        is nearest to a square, a vector as one row.
    extent : tuple of int
        Rows and columns of the array.
    drawn, wrong : int
        How many of them were drawn at random and differenced one by one, and how many of these were wrong.
    """

    rows: tuple[tuple[int, int], ...]
    columns: tuple[tuple[int, int], ...]
    extent: tuple[int, int]
    drawn: int
    wrong: int

    @property
    def size(self) -> int:
        """How many entries lie in it."""
        return _total(self.rows) * _total(self.columns)

    @property
    def estimate(self) -> int:
        """About how many entries are wrong: all, if all that were drawn are; at least one."""
        return max(1, round(self.size * self.wrong / max(self.drawn, 1)))

    @property
    def label(self) -> str:
        """Where it is, such as ``rows 4-7 x column 2``; empty if it is all of the array."""
        sides = zip(("row", "column"), (self.rows, self.columns), self.extent, strict=True)
        return " x ".join(_side(what, found) for what, found, extent in sides if _total(found) < extent)

    @property
    def evidence(self) -> str:
        """What the entries that were drawn of it say."""
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
    parts = [*parts[:6], f"and {len(parts) - 6} more"] if len(parts) > 6 else parts
    return f"{what}{'s' * (_total(stretches) > 1)} {', '.join(parts)}"


class Drawn(NamedTuple):
    """Entries of one array that were differenced one by one: its name, and for each entry three numbers.

    They are columns, of shape (entries, 1), if the array is a matrix.
    """

    array: str
    params: NDArray[np.float64]
    analytic: NDArray[np.float64]
    numerical: NDArray[np.float64]


@dataclass(frozen=True)
class ArrayResult:
    """How one array of the gradient compares.

    Attributes
    ----------
    name : str
    shape : tuple of int
    relative_error : float
        ‖a − n‖ / ‖a + n‖ over the array.
    largest_error : float
        Largest \\|a − n\\|.
    wrong : int
        Entries beyond the tolerance, or not finite in the analytic gradient.
    size : int
        Entries in all.
    rtol, atol : float
        The tolerance: an entry is right if ``|a - n| <= atol + rtol * max(|a|, |n|)``, by default plus its error bar
        and the rounding that a sum of its condition has in the dtype of the analytic gradient.
    at_kink : int
        Right entries at a kink: the analytic number is one of the slopes there.
    inconclusive : int
        Entries whose error bar, or the rounding due to the gradient's dtype, is too wide to decide, or whose numerical
        gradient is not finite; in an array in which there is something to check.
    empty : bool
        Whether the numerical gradient is zero, less than its error bars, or at a kink, in all entries, and the bars are
        next to nothing beside the whole gradient: there is nothing that could be wrong by much.
    drawn : int, optional
        How many entries were drawn at random and compared; None: all were.
    power : float, optional
        Of functions of which only values are known: an error of this size, relative to ‖n‖, would have been seen. By
        directions: relative to ‖a‖, with the stated probability; in a wrong array, outside of what was found.
        `relative_error` is then an estimate, and `largest_error` that of the entries that were differenced one by one.
    entries : tuple of tuple of int
        By directions: the indices of the wrong entries that were found one by one.
    blocks : tuple of Block
        What is wrong besides, and too much to be listed.
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
        """How many entries were compared."""
        return self.size if self.drawn is None else self.drawn

    @property
    def estimated(self) -> bool:
        """Whether the number of wrong entries is an estimate: not all in its blocks were looked at and wrong."""
        return any(block.wrong < block.drawn or not block.drawn for block in self.blocks)

    @property
    def status(self) -> str:
        """``"right"``, ``"wrong"``, ``"inconclusive"`` or ``"nothing to check"``."""
        if self.wrong:
            return "wrong"
        if self.empty:
            return "nothing to check"
        return "inconclusive" if self.inconclusive else "right"
