"""What is found out about the user's own deltas, and what it rests on besides the program."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.program.program import Source

    Reals = NDArray[np.float64]

#: A factor is divided by an integer if it differs from that by less than this part of it.
_SAME = 1e-9
#: Two gradients have a constant factor if they differ from it by less than this part of the largest entry.
_SAME_FACTOR = 1e-6


class IntermediateResult(NamedTuple):
    """One of the user's own intermediate derivatives, compared with the loss's.

    Attributes
    ----------
    name : str
        What the user calls it.
    line : int
        The line that computes the value that it is the derivative by; 0 if it is not known.
    variable : str
        The variable that this is assigned to; "" if there is none.
    factor : float
        What the right derivative is multiplied by; 1 if it is not.
    how : str
        In words what was compared: "transposed, times N = 32"; for a wrong one, what it is.
    relative_error : float
        ‖a − n‖ / ‖a + n‖; NaN where there was nothing to compare it with.
    status : str
        ``"right"``, ``"wrong"`` or ``"unknown"``.
    file, text : str
        The file of that line, and what is written there.
    step : int
        The number of the step from which on it was compared, as the trace has it: the larger, the nearer to the loss.
    """

    name: str
    line: int
    variable: str
    factor: float
    how: str
    relative_error: float
    status: str
    file: str = ""
    text: str = ""
    step: int = -1

    @property
    def place(self) -> str:
        """The place in words: "net.py line 12, `z1 = x @ W1`"; "" if it is not known."""
        if not self.line:
            return self.text
        return f"{os.path.basename(self.file)} line {self.line}{f', `{self.text}`' * bool(self.text)}"


class Gradient(NamedTuple):
    """What the check has found out about the gradient of one array of parameters."""

    status: str
    analytic: Reals
    numerical: Reals

    def has_factor(self, factor: float) -> bool:
        """Whether the gradient is the right one times a factor."""
        with np.errstate(all="ignore"):
            off = np.abs(self.analytic - factor * self.numerical)
            largest = float(np.abs(self.analytic).max(initial=0.0))
        return largest > 0.0 and bool((off <= _SAME_FACTOR * largest).all())


def relative_error(a: Reals, b: Reals) -> float:
    """Returns ‖a − b‖ / ‖a + b‖."""
    total = float(np.linalg.norm(a + b))
    off = float(np.linalg.norm(a - b))
    return off / total if total > 0.0 else (np.inf if off else 0.0)


def path_of(source: Source) -> list[Source]:
    """Returns the instructions that lead to one, the outermost first."""
    return [source] if source.caller is None else [*path_of(source.caller), source]


def in_words(factor: float, lengths: Mapping[float, str] | None = None) -> str:
    """Says what an array is multiplied by: "times 32", "divided by 32", "times -1"; "" if it is by one."""
    if factor == 1.0:
        return ""
    named = lengths or {}
    size = abs(factor)
    sign = "-" if factor < 0.0 else ""
    inverse = round(1.0 / size) if size < 1.0 else 0
    if inverse and abs(size * inverse - 1.0) < _SAME and inverse != 2:
        return f"divided by {sign}{named.get(float(inverse), inverse)}"
    return f"times {sign}{named.get(size) or format(size, '.6g')}"
