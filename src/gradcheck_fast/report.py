"""Saying so: the report of a gradient check."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from .arrays import format_index
from .compare import ArrayResult, Comparison, Entry
from .trees import Tree

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .diagnosis import Diagnosis
    from .differences import Numerical
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
        ‖a − n‖ / ‖a + n‖ over the whole gradient.
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
    """

    ok: bool
    relative_error: float
    arrays: tuple[ArrayResult, ...]
    analytic: Tree
    numerical: Tree
    method: str
    step: float | None
    seconds: float
    _flat: tuple[NDArray[np.float64], NDArray[np.float64]] = field(repr=False)
    _excess: NDArray[np.float64] = field(repr=False)
    error_bars: Tree | None = None
    notes: tuple[str, ...] = ()
    diagnoses: tuple[Diagnosis, ...] = ()

    @property
    def verdict(self) -> str:
        """``"PASS"``, ``"FAIL"``, or ``"INCONCLUSIVE"``: nothing is wrong, but too little could be checked."""
        return "PASS" if self.ok else "FAIL" if self.wrong else "INCONCLUSIVE"

    @property
    def checked(self) -> int:
        """How many entries were compared."""
        return sum(array.size for array in self.arrays)

    @property
    def wrong(self) -> int:
        """How many of them are wrong."""
        return sum(array.wrong for array in self.arrays)

    def worst(self, k: int = 1) -> list[Entry]:
        """The k entries that exceed their tolerance most (or come nearest to it), the worst first."""
        order = np.argsort(-self._excess, kind="stable")[: max(k, 0)]
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
        if not self.ok:
            raise GradientError(str(self))

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
            "seconds": self.seconds,
            "arrays": [
                {
                    "name": a.name,
                    "shape": list(a.shape),
                    "relative_error": a.relative_error,
                    "largest_error": a.largest_error,
                    "wrong": a.wrong,
                    "size": a.size,
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
        return f"<Report {self.verdict}: relative error {self.relative_error:.1e}, {wrong}>"

    def __str__(self) -> str:
        step = "chosen per parameter" if self.step is None else f"{self.step:.3g}"
        lines = [
            f"gradcheck: {self.verdict}   {self._reason()}",
            f"{self.checked:,} entries, method {self.method}, h {step}, {_duration(self.seconds)}",
            "",
        ]
        total = ("total", "", f"{self.relative_error:.1e}", "", f"{self.wrong:,} of {self.checked:,}", "")
        rows = [
            (a.name, "x".join(map(str, a.shape)) or "scalar", f"{a.relative_error:.1e}", f"{a.largest_error:.1e}",
             f"{a.wrong:,} of {a.size:,}", "  <--" if a.wrong else "")
            for a in self.arrays
        ]  # fmt: skip
        lines += _table(("array", "shape", "relative error", "largest error", "wrong", ""), [*rows, total])
        if self.wrong:
            shown = [(f"{e.array}{format_index(e.index)}", f"{e.analytic:.12g}", f"{e.numerical:.12g}")
                     for e in self.worst(min(5, self.wrong))]  # fmt: skip
            lines += ["", *_table(("worst", "your gradient", "numerical"), shown)]
        return "\n".join(line.rstrip() for line in lines)

    def _reason(self) -> str:
        if not self.checked:
            return "nothing was checked: there are no parameters"
        if self.ok:
            return f"every entry agrees, relative error {self.relative_error:.1e}"
        if not self.wrong:
            undecided = [a.name for a in self.arrays if a.status == "inconclusive"]
            if undecided:
                return f"the error bars are too wide to decide, in {_few(undecided)}"
            return "there is nothing to check: the gradient is zero, or less than its error bars, everywhere"
        if not np.isfinite(self._flat[1]).any():
            return "the loss is not finite here, so no derivative could be found"
        broken = [a.name for a in self.arrays if a.wrong]
        return f"{self.wrong:,} of {self.checked:,} entries are wrong, in {_few(broken)}"


def make_report(
    comparison: Comparison, analytic: Packed, numerical: Numerical, params: Packed, seconds: float,
    notes: tuple[str, ...] = (),
) -> Report:  # fmt: skip
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
        seconds=seconds,
        _flat=(analytic.flat, comparison.numerical),
        _excess=comparison.excess,
        error_bars=None if comparison.bars is None else params.unpack(comparison.bars),
        notes=notes,
    )


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more arrays" if len(names) > 5 else "")


def _duration(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.0f} us"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns two spaces apart; the first and second to the left, numbers to the right."""
    widths = [max(len(row[k]) for row in (head, *rows)) for k in range(len(head))]
    left = 2 if len(head) > 3 else 1
    cells = [
        [
            cell.ljust(width) if k < left else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        for row in (head, *rows)
    ]
    return ["   ".join(row) for row in cells]
