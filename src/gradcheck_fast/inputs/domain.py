"""Where parameters may be moved, and by which steps: bounds, constraints, and steps of the user's for each entry."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.inputs.constraints import Constrained

    Reals = NDArray[np.float64]

#: Of the way to a bound a move may take this part, so that rounding does not lead beyond it.
_INSIDE = 1.0 - 2.0**-20
#: An entry can be moved if its domain is at least this many roundings of it wide.
_WIDTH = 2.0**12


class Domain(NamedTuple):
    """A box in which the parameters lie. An entry whose two bounds are equal is fixed.

    Attributes
    ----------
    low, high : ndarray of float64, shape (size,)
        The bounds, which belong to the domain; infinite where there is none.
    steps : ndarray of float64, shape (size,), optional
        The step that the user wants for each entry; NaN where it is to be chosen. None: all are to be chosen.
    constrained : Constrained, optional
        The arrays that must also satisfy constraints.
    """

    low: Reals
    high: Reals
    steps: Reals | None = None
    constrained: Constrained | None = None

    def of(self, entries: NDArray[np.intp]) -> Domain:
        """Picks some entries. The constraints are left out, as they are those of whole arrays."""
        steps = None if self.steps is None else self.steps[entries]
        return Domain(self.low[entries], self.high[entries], steps)

    def holds(self, theta: Reals) -> bool:
        """Whether parameters lie in the box."""
        return bool(((self.low <= theta) & (theta <= self.high)).all())

    def holds_entries(self, entries: NDArray[np.intp], values: Reals) -> NDArray[np.bool_]:
        """Returns a mask of the entries that lie in the box with these values."""
        return np.asarray((self.low[entries] <= values) & (values <= self.high[entries]))

    def can_move(self, theta: Reals) -> NDArray[np.bool_]:
        """Returns a mask of the entries that have room for a difference."""
        return np.asarray(self.high - self.low > _WIDTH * np.spacing(np.abs(theta)))

    def into(self, moved: Reals, theta: Reals) -> Reals:
        """Returns parameters beside `theta` that lie in the box: entries that do not are moved to the other side."""
        inside = np.where((moved < self.low) | (moved > self.high), 2.0 * theta - moved, moved)
        return self.on_constraints(np.clip(inside, self.low, self.high))

    def on_constraints(self, moved: Reals) -> Reals:
        """Returns parameters beside `moved` that satisfy the constraints."""
        return moved if self.constrained is None else self.constrained.retract(moved)

    def along(self, theta: Reals, direction: Reals, reach: float) -> Reals:
        """Returns a direction like the given one along which parameters stay in the box.

        Entries that would leave it are turned to where there is more room, and made shorter if that is too little.

        Parameters
        ----------
        theta, direction : ndarray of float64, shape (size,)
        reach : float
            How many times the direction is gone at most.
        """
        above, below = self.high - theta, theta - self.low
        up = direction >= 0.0
        ahead, behind = np.where(up, above, below), np.where(up, below, above)
        size = np.abs(direction)
        turns = (ahead < reach * size) & (behind > ahead)
        sign = np.where(turns, -1.0, 1.0) * np.where(up, 1.0, -1.0)
        return np.asarray(sign * np.minimum(size, _INSIDE * np.maximum(ahead, behind) / reach))

    def has_room(self, theta: Reals, reach: Reals) -> NDArray[np.bool_]:
        """Returns a mask of the entries that can be moved by `reach` to both sides."""
        return np.asarray(np.minimum(self.high - theta, theta - self.low) >= reach)

    def largest_steps(self, theta: Reals) -> Reals:
        """Returns the largest step of each entry with which it can be differenced.

        Either it can be moved by the step to both sides, or by twice the step to one.
        """
        above, below = self.high - theta, theta - self.low
        return np.asarray(_INSIDE * np.maximum(np.minimum(above, below), 0.5 * np.maximum(above, below)))
