"""Saying so: the report of a gradient check."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from gradcheck_fast.comparison.compare import Comparison
from gradcheck_fast.report.findings import Findings, format_error
from gradcheck_fast.report.text import as_json, coloured, full_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import RenderableType

    from gradcheck_fast.comparison.directional import Directional
    from gradcheck_fast.inputs.trees import Packed
    from gradcheck_fast.numerical.gradient import Numerical


class GradientError(AssertionError):
    """A gradient is wrong; the message is the report."""


@dataclass(frozen=True, repr=False, eq=False)
class Report(Findings):
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
        from gradcheck_fast.report.plots import plot_report

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
        from gradcheck_fast.report.html import page

        path = Path(path)
        kinds = {".html": page, ".json": as_json}
        if path.suffix.lower() not in kinds:
            raise ValueError(f"path: expected a name that ends in {' or '.join(kinds)}, got {str(path)!r}")
        path.write_text(kinds[path.suffix.lower()](self), encoding="utf-8")

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
        from gradcheck_fast.report.html import fragment

        return fragment(self)


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
