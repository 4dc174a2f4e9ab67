"""Writes a report as text: plain, coloured for terminals, and as JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite, isnan
from textwrap import fill
from typing import TYPE_CHECKING, Any

from gradcheck_fast.comparison.aspects import of_status
from gradcheck_fast.inputs.arguments import duration
from gradcheck_fast.inputs.arrays import format_index
from gradcheck_fast.numerical.certificate import PROBABILITY
from gradcheck_fast.report import intermediates, source
from gradcheck_fast.report.findings import format_error

if TYPE_CHECKING:
    from rich.text import Text

    from gradcheck_fast.comparison.results import ArrayResult
    from gradcheck_fast.report.findings import Findings

#: How many characters a line of running text has, at most.
WIDTH = 100
#: How many wrong entries of an array are listed, at most, and how many rows of the table of what would have been seen.
_MOST_LISTED = 12
#: How many of the worst entries of all are shown, at most.
_MOST_WORST = 5
#: The titles of the table of what would have been seen.
SEEN_FROM = ("output", "input", "an error is seen from")
#: The columns that the table of arrays has only if one of their counts is not 0: the title, and what is counted.
COUNTS_IF_ANY: dict[str, Callable[[ArrayResult], int]] = {
    "at kinks": lambda array: array.at_kink,
    "inconclusive": lambda array: array.inconclusive,
}
#: What the end of an array's row says of its status.
_MARKS = {"wrong": "  <--", "nothing to check": "  nothing to check", "not checked": "  not checked"}
#: The style of what matches each regular expression. Colours only repeat what words and marks say, so that nothing is
#: missing in logs and for colour-blind readers.
_STYLES = {
    r"(?m)^gradcheck: (?!PASS|FAIL)\S+": "bold yellow",
    r"(?m)^gradcheck: PASS": "bold green",
    r"(?m)^gradcheck: FAIL": "bold red",
    r"(?m)^.* <--$": "red",
    r"(?m)^Note: .*(\n  .*)*": "yellow",
    r"(?m)^(Most likely|Also): .*": "bold",
    r"(?m)^(array   .*|worst   .*|intermediate   .*)$": "dim",
    r"(?m)^  --> .*$": "dim",
    r"(?m)^  [> ] +\d+ \|": "dim",
    r"(?m)^  > +\d+ \|.*$": "bold",
}


def full_text(report: Findings) -> str:
    """Writes the whole report: notes, verdict, a table of all arrays, the worst entries, diagnoses."""
    return _text(report, report.arrays)


def short_text(report: Findings) -> str:
    """Writes the report with a table of only those arrays in which something is wrong or inconclusive."""
    return _text(report, [array for array in report.arrays if array.wrong or array.inconclusive])


def coloured(report: Findings) -> Text:
    """Writes the whole report in colours, for `rich`."""
    from rich.text import Text  # its import takes time, which only those who print need spend

    text = Text(full_text(report))
    for pattern, style in _STYLES.items():
        text.highlight_regex(pattern, style)
    return text


def as_json(report: Findings) -> str:
    """Writes `Report.to_dict` as JSON; NaN and infinity, which JSON does not have, become strings."""
    import json  # only who wants it waits for its import

    return json.dumps(_finite(report.to_dict()), indent=2, allow_nan=False)


def how(report: Findings) -> str:
    """Says in a line how the numerical gradient was found: entries, method, h, time."""
    step = f"chosen per {'array' if report._along_directions else 'parameter'}"
    step = step if report.step is None else f"{report.step:.3g}"
    count = "" if report.evaluations is None else f", {report.evaluations:,} evaluations"
    shares = [f", {100 * share:.3g} % {what}" for what, share in report.shares.items() if share]
    took = duration(report.seconds)
    return f"{report.checked:,} entries, method {report.method}, h {step}{count}, {took}{''.join(shares)}"


def certified(report: Findings) -> str:
    """Says in a line what vouches for a numerical gradient that was chained; "" if nothing does or needs to."""
    certificate = report.certificate
    if certificate is None or not certificate.holds:
        return ""
    where = ", made beside the kinks" if certificate.beside_kinks else ""
    return (
        f"certificate{where}: along {certificate.directions} random directions the numerical gradient agrees with "
        f"differences of the whole loss to {certificate.agreement:.0e}; an error of {certificate.power:.0e} of any "
        f"array would have been seen with {100 * PROBABILITY:.0f} %"
    )


def aspects_in_words(report: Findings) -> list[str]:
    """Says which aspects are wrong, a line each; and in a line each which are right, and which were not checked."""
    said = [f"wrong in {aspect.name}: {aspect.detail}" for aspect in of_status(report.aspects, "wrong")]
    right = [f"{a.name}{f' ({a.detail})' * bool(a.detail)}" for a in of_status(report.aspects, "right")]
    said += [f"right, too: {', '.join(right)}"] if right else []
    reasons: dict[str, list[str]] = {}
    for aspect in of_status(report.aspects, "not checked"):
        reasons.setdefault(aspect.detail, []).append(aspect.name)
    unknown = "; ".join(f"{', '.join(names)} ({why})" for why, names in reasons.items())
    return said + ([f"not checked: {unknown}"] if unknown else [])


def found_in_words(arrays: Sequence[ArrayResult]) -> list[str]:
    """Says in a line each which entries, and which blocks, were found to be wrong along directions."""
    said = []
    for array in arrays:
        if array.entries:
            indices = [format_index(index) for index in array.entries[:_MOST_LISTED]]
            left = len(array.entries) - len(indices)
            said.append(f"{array.name}: wrong at {', '.join(indices)}{f' and {left} more' * bool(left)}")
        said += [f"{array.name}, {block.label or 'everywhere'}: {block.evidence}" for block in array.blocks]
    return said


def sentence(words: str, *, capital: bool = True) -> str:
    """Gives words a capital letter, unless they begin with a name, and a full stop."""
    return f"{words[:1].upper() if capital else words[:1]}{words[1:]}."


def error_column(report: Findings) -> tuple[str, Callable[[ArrayResult], str]]:
    """Returns the title of a column, and a function that gives what is written in it for an array.

    It is the largest error; along directions, where that is not known, the size from which on an error is seen.
    """
    if report._along_directions:
        return "seen from", lambda array: "" if array.power is None else f"{array.power:.1e}"
    return "largest error", lambda array: f"{array.largest_error:.1e}"


def seen_rows(report: Findings) -> list[tuple[str, str, str]]:
    """Returns the rows of the table of what would have been seen, with the columns of `SEEN_FROM`; not too many."""
    rows = [
        (*pair, "nothing to check" if isnan(size) else f"{size:.1e}" if size <= 1.0 else "not seen")
        for pair, size in report.seen_from.items()
    ]
    left = len(rows) - _MOST_LISTED
    return rows if left <= 0 else [*rows[:_MOST_LISTED], (f"and {left} more", "", "")]


def wrong_of(array: ArrayResult) -> str:
    """Says how many entries are wrong, of how many that were compared."""
    return f"{'about ' * array.estimated}{array.wrong:,} of {array.checked:,}"


def format_shape(shape: Sequence[int], times: str = "x") -> str:
    """Writes a shape as ``64x48``, and that of no dimensions as ``scalar``."""
    return times.join(map(str, shape)) or "scalar"


def _text(report: Findings, arrays: Sequence[ArrayResult]) -> str:
    """Writes the report with a table of some of its arrays."""
    lines = [_wrap(f"Note: {note}") for note in report.notes]
    lines += [""] * bool(lines)
    lines += [f"gradcheck: {report.verdict}   {report.reason}", how(report)]
    lines += [_wrap(sentence(said)) for said in (certified(report), report.coverage) if said]
    lines += ["", *_array_table(report, arrays)]
    if report.seen_from:
        lines += ["", *_table(SEEN_FROM, seen_rows(report))]
    about = aspects_in_words(report)
    lines += [""] * bool(about) + [_wrap(sentence(said)) for said in about]
    found = found_in_words(arrays)
    lines += [""] * bool(found) + [_wrap(said) for said in found]
    if report.wrong:
        shown = [(f"{e.array}{format_index(e.index)}", f"{e.analytic:.12g}", f"{e.numerical:.12g}")
                 for e in report.worst(min(_MOST_WORST, report.wrong))]  # fmt: skip
        lines += ["", *_table(("worst", f"your {report._what}", "numerical"), shown)]
    if report.intermediates:
        lines += ["", *intermediates.in_text(report.intermediates)]
        first = intermediates.summary(report.intermediates)
        lines += ["", _wrap(sentence(first, capital=False))] if first else []
        for excerpt in source.excerpts(intermediates.places(report.intermediates)):
            lines += source.in_text(excerpt)
    for k, diagnosis in enumerate(report.diagnoses):
        lines += ["", _wrap(f"{'Also' if k else 'Most likely'}: {diagnosis.cause}"), _wrap(f"  {diagnosis.evidence}")]
        for excerpt in source.excerpts(diagnosis.lines):
            lines += source.in_text(excerpt)
    return "\n".join(line.rstrip() for line in lines)


def _array_table(report: Findings, arrays: Sequence[ArrayResult]) -> list[str]:
    """Writes a row for each array. Entries at kinks and inconclusive ones have a column only if there are any."""
    title, errors = error_column(report)
    head = ["array", "shape", "relative error", title, "wrong"]
    rows = [
        [a.name, format_shape(a.shape), format_error(a.relative_error), errors(a), wrong_of(a)]
        for a in arrays
    ]  # fmt: skip
    total = ["total", "", format_error(report.relative_error), "", f"{report.wrong:,} of {report.checked:,}"]
    for title, count in COUNTS_IF_ANY.items():
        if any(map(count, report.arrays)):
            head.append(title)
            for row, a in zip(rows, arrays, strict=True):
                row.append(f"{count(a):,}")
            total.append(f"{sum(map(count, report.arrays)):,}")
    marks = ["", *(_MARKS.get(a.status, "") for a in arrays), ""]
    head, *rows = [[*row, mark] for row, mark in zip([head, *rows, total], marks, strict=True)]
    return _table(head, rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Writes columns three spaces apart; names and shapes are aligned to the left, numbers to the right."""
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


def _wrap(line: str) -> str:
    return fill(line, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _finite(value: Any) -> Any:
    """Replaces numbers that are not finite by strings."""
    if isinstance(value, dict):
        return {key: _finite(child) for key, child in value.items()}
    if isinstance(value, list):
        return [_finite(child) for child in value]
    return str(value) if isinstance(value, float) and not isfinite(value) else value
