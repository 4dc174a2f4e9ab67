"""Puts into words how the user's own intermediate derivatives compare with those of the loss."""

from __future__ import annotations

import os
from collections.abc import Sequence
from math import isnan
from typing import TYPE_CHECKING

from gradcheck_fast.report.findings import format_error

if TYPE_CHECKING:
    from gradcheck_fast.diagnosis.intermediates.results import IntermediateResult

#: The titles of the table.
TITLES = ("intermediate", "variable", "line", "relative error", "status", "")
#: At most so many intermediates are named in a sentence.
_MOST_NAMED = 6


def rows(results: Sequence[IntermediateResult]) -> list[tuple[str, ...]]:
    """Returns the rows of the table of intermediates, with the columns of `TITLES`."""
    return [
        (
            result.name, result.variable, f"{os.path.basename(result.file)} {result.line}" if result.line else "",
            "" if isnan(result.relative_error) else format_error(result.relative_error), result.status, result.how,
        )
        for result in results
    ]  # fmt: skip


def in_text(results: Sequence[IntermediateResult]) -> list[str]:
    """Writes the table of intermediates as lines of text; there is an arrow at those that are wrong."""
    table = [TITLES, *rows(results)]
    widths = [max(len(row[k]) for row in table) for k in range(len(TITLES))]
    said = []
    for number, row in enumerate(table):
        cells = [
            cell.rjust(width) if k == 3 else cell.ljust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        mark = "  <--" if number and results[number - 1].status == "wrong" else ""
        said.append(("   ".join(cells).rstrip() + mark).rstrip())
    return said


def first_wrong(results: Sequence[IntermediateResult]) -> IntermediateResult | None:
    """Returns the wrong one that is nearest to the loss: on the way back it comes first. None if none is wrong."""
    return max((result for result in results if result.status == "wrong"), key=lambda r: r.step, default=None)


def places(results: Sequence[IntermediateResult]) -> list[tuple[str, int]]:
    """Returns the file and the line of the first wrong one, if there is one and they are known."""
    first = first_wrong(results)
    return [(first.file, first.line)] if first is not None and first.line else []


def summary(results: Sequence[IntermediateResult]) -> str:
    """Says in a sentence which intermediate is the first that is wrong on the way back; "" if none is."""
    first = first_wrong(results)
    if first is None:
        return ""
    above = [result for result in results if result.step > first.step]
    right = [result for result in above if result.status == "right"]
    unknown = [result.name for result in results if result.status == "unknown" and not 0 <= result.step < first.step]
    where = f": {first.place}" if first.place else ""
    said = f"{first.name} is the first of your intermediates that is wrong{where}"
    if first.how:
        said += f" ({first.how})"
    if right:
        said += f"; {_few([r.name for r in right])} above it {'is' if len(right) == 1 else 'are'} right"
        factors = [f"{r.name} {r.how}" for r in right if r.factor != 1.0]
        said += f" ({_few(factors)})" if factors else ""
    if unknown:
        said += f"; {_few(unknown)} could not be compared"
    return said


def _few(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
