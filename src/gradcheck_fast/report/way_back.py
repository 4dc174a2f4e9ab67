"""Shows a traced loss by the lines of the user's source: how much it depends on each, and what is right there.

The way back begins at the loss. Beside each line stand the size of its sensitivity and whether the user's own way back
is right there; the steps that the line makes are folded away below it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from math import isnan
from typing import TYPE_CHECKING

from gradcheck_fast.frontends.numpy_trace.lines import RIGHT, TURNING, UNKNOWN, WRONG
from gradcheck_fast.inputs.users_files import cut
from gradcheck_fast.report import source
from gradcheck_fast.report.text import format_shape

if TYPE_CHECKING:
    from gradcheck_fast.frontends.numpy_trace.lines import SourceLine, StepRow
    from gradcheck_fast.report.findings import Findings

#: So many characters of a line of source are shown, at most, so many lines, so many steps of a line, and of all lines.
_MOST_SHOWN, _MOST_LINES, _MOST_STEPS, _MOST_STEPS_IN_ALL = 300, 400, 60, 3000
#: The mark and the class of each verdict; the words repeat what they say.
_MARKS = {RIGHT: ("✓", "ok"), TURNING: ("✗", "turning"), WRONG: ("✗", "bad"), UNKNOWN: ("?", "open")}
#: What the verdicts on lines mean.
_MEANING = {
    RIGHT: "right",
    TURNING: "wrong from here on: right so far, but not what goes back from this line",
    WRONG: "wrong",
    UNKNOWN: "not known: the mistake is at one of these lines, or where what is right goes back to them",
}
#: What is said of the lines.
_EXPLANATION = (
    "The largest |dE/dvalue| of what each line computes, and whether your way back has it right. The way back begins "
    "at the loss, which is computed last. A line unfolds to its steps."
)
_TITLES = ("step", "operation", "variable", "shape", "reads", "|dE/dvalue|", "")

STYLE = """\
.gradcheck-fast .code{overflow-x:auto;margin:.2rem 0 .6rem;font:.9em/1.5 ui-monospace,monospace}
.gradcheck-fast .code>*{width:max-content;min-width:100%}
.gradcheck-fast .code summary,.gradcheck-fast .code .line{display:block;white-space:pre;cursor:default}
.gradcheck-fast .code summary{cursor:pointer}
.gradcheck-fast .code summary::-webkit-details-marker{display:none}
.gradcheck-fast .code summary:hover{background:#8882}
.gradcheck-fast .code i{font-style:normal;opacity:.65}
.gradcheck-fast .code b{font-weight:600}
.gradcheck-fast .code .line{opacity:.65}.gradcheck-fast .code .line i{opacity:1}
.gradcheck-fast .code :is(.turning,.bad)>summary{background:#e8803a30}
.gradcheck-fast .code .turning>summary{font-weight:600;box-shadow:inset .25rem 0 #b34700}
.gradcheck-fast .code .open>summary{background:#cc850018}
.gradcheck-fast .code table{margin:.2rem 0 .6rem 3rem}
.gradcheck-fast .code td{white-space:pre}
.gradcheck-fast .way{margin-top:1.6rem}
.gradcheck-fast .way>summary{font-size:1rem;font-weight:600;cursor:pointer}
"""


def way_back(report: Findings) -> str:
    """Writes the source of a traced loss, folded away unless something is wrong; "" if there is none."""
    lines = report.lines
    if not lines:
        return ""
    shown, left = lines[:_MOST_LINES], _MOST_STEPS_IN_ALL
    said = []
    for file, rows in source.listing(shown):
        written = []
        for row, line in rows:
            written.append(_line(row, line, left))
            left -= len(line.rows) if line is not None else 0
        place = f'<p class="quiet">{escape(source.short_path(file))}</p>\n' if file else ""
        said.append(f'{place}<div class="code">{"".join(written)}</div>')
    more = f"<p>and {len(lines) - len(shown):,} more lines</p>" if len(lines) > len(shown) else ""
    return (
        f'<details class="way"{" open" * bool(report.wrong)}><summary>The loss by lines</summary>\n'
        f'<p class="quiet">{_EXPLANATION}</p>{_meanings(shown)}{"".join(said)}{more}</details>'
    )


def _meanings(lines: Sequence[SourceLine]) -> str:
    """Says what the marks mean, if there are any but those of what is right."""
    there = {line.verdict for line in lines}
    if not there & {TURNING, WRONG, UNKNOWN}:
        return ""
    said = (
        f'<span class="{_MARKS[verdict][1]}">{_MARKS[verdict][0]}</span> {meaning}'
        for verdict, meaning in _MEANING.items()
        if verdict in there
    )
    return f'<p class="key">{"".join(f"<span>{each}</span>" for each in said)}</p>'


def _line(row: source.Row, line: SourceLine | None, left: int) -> str:
    """Writes a line; its steps are folded away, as many of them as there may still be on the page."""
    number, text = f"{row.number or '':>5}", escape(cut(row.text, _MOST_SHOWN))
    if line is None:
        return f'<div class="line"><i>{"":>10} {number}</i>  {text}</div>'
    mark, kind = _MARKS.get(line.verdict, (" ", ""))
    said = "   <b>← wrong from here on</b>" if line.verdict == TURNING else ""
    summary = f"<i>{_size(line.sensitivity):>8}</i> {mark} <i>{number}</i>  {text}{said}"
    table = _steps(line.rows[: min(_MOST_STEPS, max(left, 0))], len(line.rows), line.operations)
    return f'<details class="{kind}"><summary>{summary}</summary>{table}</details>'


def _steps(rows: Sequence[StepRow], count: int, operations: str) -> str:
    """Writes the steps of a line as a table."""
    if not rows:
        return f"<p>{count:,} steps: {escape(operations)}</p>"
    head = "".join(f"<th>{title}</th>" for title in _TITLES)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in _cells(row)) + "</tr>" for row in rows)
    more = f"<p>and {count - len(rows):,} more steps: {escape(operations)}</p>" if count > len(rows) else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"


def _cells(row: StepRow) -> Iterator[str]:
    mark = _MARKS[row.verdict][0] if row.verdict in _MARKS else ""
    yield f"#{row.number}"
    yield row.operation
    yield cut(row.name, _MOST_SHOWN)
    yield format_shape(row.shape, "×")
    yield cut(", ".join(row.inputs), _MOST_SHOWN)
    yield _size(row.sensitivity)
    yield f"{mark} {row.verdict}".strip()


def _size(sensitivity: float) -> str:
    return "" if isnan(sensitivity) else f"{sensitivity:.1e}"
