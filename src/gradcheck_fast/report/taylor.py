"""The report of a Taylor test: rates, verdict, and the ways to show them."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from html import escape
from math import isfinite, isnan, nan
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from gradcheck_fast.inputs.arguments import duration
from gradcheck_fast.numerical.taylor import RATES, REMAINDERS
from gradcheck_fast.report.report import GradientError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

    from matplotlib.figure import Figure

    from gradcheck_fast.numerical.taylor import Remainder, Remainders

_VERDICTS = {"right": "PASS", "wrong": "FAIL"}


@dataclass(frozen=True, repr=False, eq=False)
class TaylorReport:
    """What a Taylor test has found.

    Attributes
    ----------
    together : Remainders
        Along the whole direction: steps, remainders, rates, the slope of the gradient and how far it is off.
    arrays : tuple of Remainders
        The same for each array moved alone; empty if that was not done.
    evaluations : int
        How often the loss was evaluated.
    seconds : float
    has_hessian : bool
        Whether a Hessian was tested, too.
    notes : tuple of str
        What was noticed of the loss.
    """

    together: Remainders
    arrays: tuple[Remainders, ...] = ()
    evaluations: int = 0
    seconds: float = 0.0
    has_hessian: bool = False
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """``"PASS"``, ``"FAIL"``, or ``"INCONCLUSIVE"``."""
        statuses = [one.status for one in (self.together, *self.arrays)]
        if "wrong" in statuses:
            return "FAIL"
        return "PASS" if "right" in statuses and "inconclusive" not in statuses else "INCONCLUSIVE"

    @property
    def ok(self) -> bool:
        """Whether all rates are those of a right gradient."""
        return self.verdict == "PASS"

    @property
    def wrong(self) -> tuple[str, ...]:
        """The arrays that are wrong when they are moved alone."""
        return tuple(one.name for one in self.arrays if one.status == "wrong")

    @property
    def lowest_rate(self) -> float:
        """The lowest rate of the last remainder along the whole direction; NaN if there is none."""
        return self.together.lowest_rate

    @property
    def reason(self) -> str:
        """The verdict in words."""
        one = self.together
        if one.status != "wrong" and self.wrong:
            return (
                f"moved alone, {', '.join(self.wrong)}: {self._of(self.wrong[0]).says}{_off(self._of(self.wrong[0]))}"
            )
        if one.status == "right":
            undecided = [other.name for other in self.arrays if other.status == "inconclusive"]
            if undecided:
                return f"together the rates are right, but too little is known of {', '.join(undecided)} alone"
        where = (
            f", in {', '.join(self.wrong)}" if self.wrong and self.wrong != tuple(a.name for a in self.arrays) else ""
        )
        rate = one.last_rate if one.status == "wrong" else one.lowest_rate
        what = "rate" if one.status == "wrong" else "lowest rate"
        has_rate = isfinite(rate) and not isfinite(one.curvature_error if one.status == "wrong" else nan)
        return f"{one.says}{_off(one)}{where}{f' ({what} {rate:.2f})' if has_rate else ''}"

    def _of(self, name: str) -> Remainders:
        return next(one for one in self.arrays if one.name == name)

    def raise_if_failed(self) -> None:
        """Raises `GradientError` (an AssertionError) with the report as its message, unless `ok`."""
        __tracebackhide__ = True  # pytest points at the caller
        if not self.ok:
            raise GradientError(str(self))

    def print(self, file: TextIO | None = None) -> None:
        """Prints the report to `file` (default: standard output)."""
        (file or sys.stdout).write(f"{self}\n")

    def plot(self) -> Figure:
        """Draws the remainders against the step on logarithmic axes, with the slopes of right ones.

        Returns
        -------
        matplotlib.figure.Figure
            A figure of `matplotlib.pyplot`.

        Raises
        ------
        ImportError
            If matplotlib is not installed; it is an optional dependency.
        """
        from gradcheck_fast.report.taylor_plot import plot_taylor

        words = f"taylor_test: {self.verdict}   {self.reason}"
        return plot_taylor(words, self.together, self.arrays)

    def save(self, path: str | PathLike[str]) -> None:
        """Writes the report to a file whose name ends in ``.html``, or in ``.json`` for `to_dict`.

        Raises
        ------
        ValueError
            If `path` ends in anything else.
        OSError
            If the file cannot be written.
        """
        import json  # only who saves waits for its import

        path = Path(path)
        kinds = {
            ".html": lambda: _PAGE.format(verdict=self.verdict, fragment=self._repr_html_()),
            ".json": lambda: json.dumps(self.to_dict(), indent=2, allow_nan=False),
        }
        if path.suffix.lower() not in kinds:
            raise ValueError(f"path: expected a name that ends in {' or '.join(kinds)}, got {str(path)!r}")
        path.write_text(kinds[path.suffix.lower()](), encoding="utf-8")

    def to_dict(self) -> dict[str, Any]:
        """Returns the report as plain numbers, strings, lists and dicts; what is not finite is a string."""
        return {
            "ok": self.ok,
            "verdict": self.verdict,
            "reason": self.reason,
            "evaluations": self.evaluations,
            "seconds": self.seconds,
            "notes": list(self.notes),
            "together": _as_dict(self.together),
            "arrays": [_as_dict(one) for one in self.arrays],
        }

    def __bool__(self) -> bool:
        return self.ok

    def __repr__(self) -> str:
        return f"<TaylorReport {self.verdict}: {self.reason}>"

    def __str__(self) -> str:
        one = self.together
        lines = [f"Note: {note}" for note in self.notes]
        lines += [f"taylor_test: {self.verdict}   {self.reason}", _how(self), *_seen(one), ""]
        lines += _aligned(_steps_head(one), _steps_rows(one))
        if one.left_out:
            lines.append(f"{one.left_out} of {len(one.steps)} steps are left out of the rates: {_WHY}")
        if self.arrays:
            lines += ["", *_aligned(_ARRAYS_HEAD, [_array_row(other) for other in self.arrays])]
        return "\n".join(line.rstrip() for line in lines)

    def _repr_html_(self) -> str:
        one = self.together
        parts = [
            f"<h2>taylor_test: {escape(self.verdict)} {escape(self.reason)}</h2>",
            f"<p>{escape(' '.join([_how(self) + '.', *_seen(one)]))}</p>",
            *(f"<p><b>Note:</b> {escape(note)}</p>" for note in self.notes),
            _html_table(_steps_head(one), _steps_rows(one)),
            f"<p>{one.left_out} of {len(one.steps)} steps are left out of the rates: {_WHY}</p>"
            if one.left_out
            else "",
            _html_table(_ARRAYS_HEAD, [_array_row(other) for other in self.arrays]) if self.arrays else "",
        ]
        return (
            f'<div class="gradcheck-fast-taylor"><style>{_STYLE}</style>\n'
            + "\n".join(filter(None, parts))
            + "\n</div>"
        )


_WHY = "the remainder is hardly more than the rounding or noise of the loss, or not finite"
_ARRAYS_HEAD = ("moved alone", "dJ·dm", "off by", "lowest rate", "")
_MARKS = {"wrong": "<--", "right": "", "inconclusive": "inconclusive", "nothing to check": "nothing to check"}
_STYLE = """
.gradcheck-fast-taylor{font:14px/1.45 system-ui,sans-serif;max-width:62rem;font-variant-numeric:tabular-nums}
.gradcheck-fast-taylor h2{font-size:1.25rem;margin:0 0 .3rem;font-weight:600}
.gradcheck-fast-taylor table{border-collapse:collapse;margin:.8rem 0}
.gradcheck-fast-taylor :is(th,td){padding:.2rem .8rem .2rem 0;text-align:right;border-bottom:1px solid #8885}
.gradcheck-fast-taylor th{font-weight:400;opacity:.75}
.gradcheck-fast-taylor :is(th,td):first-child{text-align:left}
"""
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="color-scheme" content="light dark">
<title>taylor_test: {verdict}</title>
<style>:root{{color-scheme:light dark}}body{{margin:2rem;background:Canvas;color:CanvasText}}</style>
</head>
<body>
{fragment}
</body>
</html>
"""


def _how(report: TaylorReport) -> str:
    steps = report.together.steps
    return (
        f"{len(steps)} steps from {steps[0]:.3g} to {steps[-1]:.3g}, {report.evaluations} evaluations, "
        f"{duration(report.seconds)}"
    )


def _seen(one: Remainders) -> list[str]:
    """Says which errors would have been seen."""
    if one.status == "wrong" or not isfinite(one.seen_from):
        return []
    return [f"An error of dJ·dm along the whole direction above {one.seen_from:.0e} of it would have been seen."]


def _off(one: Remainders) -> str:
    """Says how far the slope of the gradient is off, if it is wrong."""
    if one.status != "wrong" or not isfinite(one.error) or not one.error or isfinite(one.curvature_error):
        return ""
    right = one.slope + one.error
    part = f", {abs(one.error / right):.2g} of it" if right else ""
    return f", yours says {one.slope:.6g}: off by {abs(one.error):.2g}{part}"


def _steps_head(one: Remainders) -> tuple[str, ...]:
    pairs = [(what, "rate") for what in REMAINDERS[: len(one.orders)]]
    return ("step h", *(cell for pair in pairs for cell in pair))


def _steps_rows(one: Remainders) -> list[tuple[str, ...]]:
    return [(f"{h:.3g}", *(cell for order in one.orders for cell in _cells(order, k))) for k, h in enumerate(one.steps)]


def _cells(order: Remainder, k: int) -> tuple[str, str]:
    size = "not finite" if not isfinite(order.sizes[k]) else f"{order.sizes[k]:.2e}"
    rate = order.rates[k - 1] if k else nan
    if not order.used[k]:
        return size, "rounding" if isfinite(order.sizes[k]) else ""
    return size, "" if isnan(rate) else f"{rate:.2f}"


def _array_row(one: Remainders) -> tuple[str, ...]:
    rate = "" if isnan(one.lowest_rate) else f"{one.lowest_rate:.2f}"
    is_known = one.status == "wrong" and isfinite(one.error) and isnan(one.curvature_error)
    off = f"{abs(one.error):.1e}" if is_known else ""
    return one.name, f"{one.slope:.6g}", off, rate, _MARKS[one.status]


def _aligned(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Writes columns three spaces apart, the first aligned to the left, the others to the right."""
    widths = [max(len(row[k]) for row in (head, *rows)) for k in range(len(head))]
    return [
        "   ".join(
            cell.rjust(width) if k else cell.ljust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in (head, *rows)
    ]


def _html_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def cells(row: Sequence[str], tag: str) -> str:
        return "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in row)

    body = "".join(f"<tr>{cells(row, 'td')}</tr>\n" for row in rows)
    return f"<table>\n<tr>{cells(head, 'th')}</tr>\n{body}</table>"


def _as_dict(one: Remainders) -> dict[str, Any]:
    def plain(value: Any) -> Any:
        if isinstance(value, float) and not isfinite(value):
            return str(value)
        return [plain(child) for child in value] if isinstance(value, (tuple, list)) else value

    orders = [
        {"remainder": what, "expected_rate": rate, **{key: plain(value) for key, value in order._asdict().items()}}
        for what, rate, order in zip(REMAINDERS, RATES, one.orders, strict=False)
    ]
    return {key: plain(value) for key, value in one._asdict().items() if key != "orders"} | {"orders": orders}
