"""Saying so: the report of a gradient check."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from .compare import Comparison
from .results import ArrayResult, Entry
from .text import as_json, coloured, format_error, full_text
from .trees import Tree, pack_as

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray
    from rich.console import RenderableType

    from .diagnosis import Diagnosis
    from .differences import Numerical
    from .directional import Directional
    from .trees import Packed


class GradientError(AssertionError):
    """A gradient is wrong; the message is the report."""


@dataclass(frozen=True, repr=False, eq=False)
class Report:
    """The verdict on a gradient, and what it rests on.

    Attributes
    ----------
    ok : bool
        Whether every entry is right. False also if nothing was checked.
    relative_error : float
        ‖a − n‖ / ‖a + n‖ over the whole gradient. Reports say ``opposite sign`` where it is 1000 or more: there a = -n
        but for two parts in a thousand.
    arrays : tuple of ArrayResult
        One for each array, in order.
    analytic, numerical : tree
        The two gradients, like the parameters.
    method : str
        How the numerical gradient was found.
    step : float or None
        Its h; None where it was chosen for each parameter.
    seconds : float
        What the whole check took.
    error_bars : tree or None
        How far each numerical entry may be from the true derivative; None where they were not computed.
    notes : tuple of str
        What to know first, such as a cost that is another than the network's.
    diagnoses : tuple of Diagnosis
        The mistakes that would explain what is wrong, the most specific first.
    kinks_crossed : int
        How often a value lay on different sides of a kink for +h and for -h, over all perturbations and samples.
    coverage : str
        Where not every entry was compared: which errors would have been seen, and with what probability. The numerical
        gradient is NaN where it is not known.
    evaluations : int or None
        How often the loss was evaluated along directions; None: there were none. Some entries of what is found to be
        wrong are then differenced once more, each by itself, which is not counted.
    seen_from : dict
        Of functions with several outputs: from what relative size on an error in each of them with respect to each
        input would have been seen, by (output, input), as far as they were looked at; infinite where nothing would have
        been, NaN where there is nothing to check.
    finite_here : bool or None
        Whether the loss is finite at the parameters; looked at only if the report is `blind`.
    """

    ok: bool
    relative_error: float
    arrays: tuple[ArrayResult, ...]
    analytic: Tree
    numerical: Tree
    method: str
    step: float | None
    _flat: tuple[NDArray[np.float64], NDArray[np.float64]] = field(repr=False)
    _excess: NDArray[np.float64] = field(repr=False)
    seconds: float = 0.0
    error_bars: Tree | None = None
    notes: tuple[str, ...] = ()
    diagnoses: tuple[Diagnosis, ...] = ()
    kinks_crossed: int = 0
    coverage: str = ""
    evaluations: int | None = None
    seen_from: dict[tuple[str, str], float] = field(default_factory=dict)
    finite_here: bool | None = None

    @property
    def verdict(self) -> str:
        """``"PASS"``, ``"FAIL"``, or ``"INCONCLUSIVE"``: nothing is wrong, but too little could be checked."""
        return "PASS" if self.ok else "FAIL" if self.wrong else "INCONCLUSIVE"

    @property
    def checked(self) -> int:
        """How many entries were compared."""
        return sum(array.checked for array in self.arrays)

    @property
    def wrong(self) -> int:
        """How many of them are wrong."""
        return sum(array.wrong for array in self.arrays)

    @property
    def flat_numerical(self) -> NDArray[np.float64]:
        """The numerical gradient as one vector, array after array; NaN where it is not known."""
        return self._flat[1]

    @property
    def blind(self) -> bool:
        """Whether no derivative could be found: of no entry are there differences that are finite and converge."""
        if self.evaluations is not None:
            return all(a.power is None for a in self.arrays) and any(a.inconclusive for a in self.arrays)
        if not np.isfinite(self.flat_numerical).any():
            return True
        if self.bars is None or any(a.at_kink or a.wrong + a.inconclusive < a.checked for a in self.arrays):
            return False
        return not any(np.isfinite(bars).any() for bars in self.bars.values())

    @property
    def bars(self) -> dict[str, NDArray[np.float64]] | None:
        """`error_bars` by the names of the arrays."""
        if self.error_bars is None:
            return None
        packed = pack_as(self.error_bars, {array.name: array.shape for array in self.arrays}, finite=False)
        return dict(packed.arrays(packed.flat))

    @property
    def shares(self) -> dict[str, float]:
        """Which parts of the entries are at kinks, inconclusive, or in arrays with nothing to check."""
        counts = {
            "at kinks": sum(array.at_kink for array in self.arrays),
            "inconclusive": sum(array.inconclusive for array in self.arrays),
            "nothing to check": sum(array.checked for array in self.arrays if array.status == "nothing to check"),
        }
        return {what: count / max(self.checked, 1) for what, count in counts.items()}

    def worst(self, k: int = 1) -> list[Entry]:
        """The k entries that exceed their tolerance most (or come nearest to it), the worst first.

        Only entries that were compared one by one: others have an excess of -inf.
        """
        known = np.flatnonzero(self._excess != -np.inf)
        order = known[np.argsort(-self._excess[known], kind="stable")[: max(k, 0)]]
        begins = np.cumsum([0] + [array.size for array in self.arrays])
        entries = []
        for at in order:
            which = int(np.searchsorted(begins, at, side="right")) - 1
            array = self.arrays[which]
            index = tuple(int(i) for i in np.unravel_index(at - begins[which], array.shape))
            entries.append(Entry(array.name, index, float(self._flat[0][at]), float(self._flat[1][at])))
        return entries

    def raise_if_failed(self) -> None:
        """Raises `GradientError` (an AssertionError) with the report as its message, unless `ok`."""
        __tracebackhide__ = True  # pytest points at the caller
        if not self.ok:
            raise GradientError(str(self))

    def print(self, file: TextIO | None = None) -> None:
        """Prints the report, in colour if `file` (default: standard output) is a terminal."""
        from rich.console import Console  # only who prints waits for its import

        file = file or sys.stdout
        console = Console(file=file, soft_wrap=True)
        with console.capture() as captured:  # rich's own writing would end the process at a closed pipe
            console.print(self)
        file.write(captured.get())

    def plot(self, most: int = 16) -> Figure:
        """Draws where the errors are in each array, and the analytic against the numerical gradient.

        Parameters
        ----------
        most : int
            Draw no more arrays than this, those with the largest errors.

        Returns
        -------
        matplotlib.figure.Figure
            A figure of `matplotlib.pyplot`.

        Raises
        ------
        ImportError
            If matplotlib is not installed; it is an optional dependency.
        """
        from .plots import plot_report

        return plot_report(self, most)

    def save(self, path: str | PathLike[str]) -> None:
        """Writes the report to a file: ``.html``, one page without anything outside it, or ``.json``, `to_dict`.

        Raises
        ------
        ValueError
            If `path` ends otherwise.
        OSError
            If it cannot be written.
        """
        from .html import page

        path = Path(path)
        kinds = {".html": page, ".json": as_json}
        if path.suffix.lower() not in kinds:
            raise ValueError(f"path: expected a name that ends in {' or '.join(kinds)}, got {str(path)!r}")
        path.write_text(kinds[path.suffix.lower()](self), encoding="utf-8")

    def to_dict(self, worst: int = 5) -> dict[str, Any]:
        """The report as plain numbers, strings, lists and dicts, without the gradients themselves."""
        return {
            "ok": self.ok,
            "verdict": self.verdict,
            "relative_error": self.relative_error,
            "checked": self.checked,
            "wrong": self.wrong,
            "method": self.method,
            "step": self.step,
            "shares": self.shares,
            "kinks_crossed": self.kinks_crossed,
            "seconds": self.seconds,
            "coverage": self.coverage,
            "evaluations": self.evaluations,
            "seen_from": [{"output": o, "input": i, "seen_from": size} for (o, i), size in self.seen_from.items()],
            "notes": list(self.notes),
            "diagnoses": [d._asdict() | {"arrays": list(d.arrays)} for d in self.diagnoses],
            "arrays": [
                {
                    "name": a.name,
                    "shape": list(a.shape),
                    "relative_error": a.relative_error,
                    "largest_error": a.largest_error,
                    "status": a.status,
                    "wrong": a.wrong,
                    "at_kink": a.at_kink,
                    "inconclusive": a.inconclusive,
                    "size": a.size,
                    "checked": a.checked,
                    "power": a.power,
                    "estimated": a.estimated,
                    "entries": [list(index) for index in a.entries],
                    "blocks": [block.to_dict() for block in a.blocks],
                    "rtol": a.rtol,
                    "atol": a.atol,
                }
                for a in self.arrays
            ],
            "worst": [entry._asdict() | {"index": list(entry.index)} for entry in self.worst(worst)],
        }

    def __bool__(self) -> bool:
        return self.ok

    def __repr__(self) -> str:
        wrong = f"{self.wrong} of {self.checked} wrong"
        return f"<Report {self.verdict}: {format_error(self.relative_error, 'relative error ')}, {wrong}>"

    def __str__(self) -> str:
        return full_text(self)

    def __rich__(self) -> RenderableType:
        return coloured(self)

    def _repr_html_(self) -> str:
        from .html import fragment

        return fragment(self)

    @property
    def reason(self) -> str:
        """The verdict in words, such as which arrays are wrong."""
        if not self.checked:
            return "nothing was checked: there are no parameters"
        if self.ok:
            who = "every entry agrees" if not self.coverage else "all that was compared agrees"
            return f"{who}, {format_error(self.relative_error, 'relative error ')}"
        if self.blind:
            return {
                False: "the loss is not finite here, so no derivative could be found",
                True: "the loss is finite here, but its differences are not, or do not converge",
                None: "the differences are not finite, or do not converge",
            }[self.finite_here]
        if not self.wrong:
            undecided = [a.name for a in self.arrays if a.status == "inconclusive"]
            if undecided:
                return f"too little is known to decide: the error bars are too wide, in {_few(undecided)}"
            return "there is nothing to check: the gradient is zero, or less than its error bars, everywhere"
        broken = [a.name for a in self.arrays if a.wrong]
        about = "about " if any(a.estimated for a in self.arrays) else ""
        return f"{about}{self.wrong:,} of {self.checked:,} entries are wrong, in {_few(broken)}"


def make_report(comparison: Comparison, analytic: Packed, numerical: Numerical | Directional, params: Packed) -> Report:
    """The report of a comparison; passes only if nothing is wrong and something was there to be checked."""
    statuses = [array.status for array in comparison.arrays]
    return Report(
        ok="wrong" not in statuses and "inconclusive" not in statuses and "right" in statuses,
        relative_error=comparison.relative_error,
        arrays=comparison.arrays,
        analytic=params.unpack(analytic.flat),
        numerical=params.unpack(comparison.numerical),
        method=numerical.method,
        step=numerical.step,
        _flat=(analytic.flat, comparison.numerical),
        _excess=comparison.excess,
        error_bars=None if comparison.bars is None else params.unpack(comparison.bars),
        kinks_crossed=0 if numerical.kinks is None else numerical.kinks.crossed,
    )


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more arrays" if len(names) > 5 else "")
