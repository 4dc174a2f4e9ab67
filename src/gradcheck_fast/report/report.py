"""The report of a gradient check, as users get it: it prints, plots and saves what was found."""

from __future__ import annotations

import sys
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from gradcheck_fast.comparison.results import Comparison
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


class Report(Findings):
    """The verdict on a gradient, and what it rests on.

    Attributes
    ----------
    ok : bool
        Whether nothing is wrong or inconclusive. It is False if there was nothing to check.
    relative_error : float
        ‖a − n‖ / ‖a + n‖ over all that was compared. Texts say ``opposite sign`` if it is 1000 or more: then a = -n but
        for two parts in a thousand.
    arrays : tuple of ArrayResult
        The result of each array, in order.
    analytic, numerical : tree
        The two gradients, like the parameters. Of a complex array both are complex, by the convention that a note
        names, while `arrays`, `worst` and `error_bars` have two real arrays, ``W.real`` and ``W.imag``, with the
        derivatives by both parts.
    method : str
        How the numerical gradient was found.
    step : float or None
        Its h; None if it was chosen for each parameter, or for each array.
    seconds : float
        How long the whole check took.
    error_bars : tree or None
        How far each numerical entry may be from the true derivative; None if they were not computed.
    notes : tuple of str
        What to know first, such as that the cost is another than the network's.
    diagnoses : tuple of Diagnosis
        The mistakes that would explain what is wrong, the most specific first.
    kinks_crossed : int
        How often a value lay on different sides of a kink for +h and for -h, over all perturbations and samples.
    coverage : str
        Which errors would have been seen, and with what probability, if not every entry was compared. The numerical
        gradient is then NaN where it is not known.
    evaluations : int or None
        How often the loss was evaluated along random directions; None if arrays were not compared along directions.
        Some of the entries that are found to be wrong are differenced once more by themselves, which is not counted.
    seen_from : dict
        For functions with several outputs: the relative size from which on an error in an output, with respect to an
        input, would have been seen, by (output, input), for the pairs that were looked at. It is infinite where no
        error would have been seen, and NaN where there is nothing to check.
    certificate : Certificate or None
        What vouches for a numerical gradient that was chained: how well it agrees with differences of the whole cost
        along random directions, and how large an error would have been seen with which probability.
    intermediates : tuple of IntermediateResult
        How the user's own derivatives by intermediate values compare with those of the loss; see `gradcheck`.
    aspects : tuple of Aspect
        What was looked at beside the numbers, such as forward mode: its ``name``, its ``status`` ("right", "wrong" or
        "not checked"), and the ``detail``. A wrong one makes the report fail.
    lines : tuple of SourceLine
        The lines of a traced loss, in the order in which they run first: their steps, the largest derivative of the
        loss by what they compute, and whether the user's own way back is right there (``verdict``: ``"right"``,
        ``"wrong"``, ``"wrong from here on"`` or ``"unknown"``). They are found when they are asked for. Empty for any
        other loss.
    finite_here : bool or None
        Whether the loss is finite at the parameters. It is None unless the report is `blind`, as it is looked at only
        then.
    """

    def raise_if_failed(self) -> None:
        """Raises `GradientError` (an AssertionError) with the report as its message, unless `ok`."""
        __tracebackhide__ = True  # pytest points at the caller
        if not self.ok:
            raise GradientError(str(self))

    def print(self, file: TextIO | None = None) -> None:
        """Prints the report, in colour if `file` (default: standard output) is a terminal."""
        from rich.console import Console  # its import takes time, which only those who print need spend

        file = file or sys.stdout
        console = Console(file=file, soft_wrap=True)
        with console.capture() as captured:  # rich itself would end the process if the pipe is closed
            console.print(self)
        file.write(captured.get())

    def plot(self, most: int = 16) -> Figure:
        """Draws where the errors are in each array, and the analytic against the numerical gradient.

        Parameters
        ----------
        most : int
            How many arrays are drawn, at most: those with the largest errors.

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
        """Writes the report to a file.

        Parameters
        ----------
        path : str or PathLike
            A name that ends in ``.html``, for a page that needs nothing outside it, or in ``.json``, for `to_dict`.

        Raises
        ------
        ValueError
            If `path` ends in anything else.
        OSError
            If the file cannot be written.
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


def make_report(
    comparison: Comparison, analytic: Packed, numerical: Numerical | Directional, params: Packed, **more: Any
) -> Report:
    """Makes the report of a comparison.

    Its verdict is that the gradient is right only if an array is right, and none is wrong or inconclusive.

    Parameters
    ----------
    comparison : Comparison
        What was found.
    analytic : Packed
        The gradient that was checked.
    numerical : Numerical or Directional
        How the numerical gradient was found.
    params : Packed
        The parameters, whose form the gradients in the report get.
    **more
        Attributes of the report that do not follow from these.
    """
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
        _find_excess=comparison.find_excess,
        error_bars=None if comparison.bars is None else params.unpack(comparison.bars),
        kinks_crossed=0 if numerical.kinks is None else numerical.kinks.crossed,
        certificate=numerical.certificate,
        **more,
    )
